/* proc/pty.h: opening a pty pair without anything of the image but /dev/ptmx. */
#ifndef PROC_PTY_H
#define PROC_PTY_H

#include <termios.h>

/* Both ends are CLOEXEC, the master is non-blocking, the slave has `rows` x `cols`, echo off.
 * Returns 0 or a negative errno. Caller owns both fds. */
int proc_pty_open(int rows, int cols, int *ret_master, int *ret_slave);

/* The line discipline that a session starts every command with: echo off, everything else as a fresh tty.
 * Works on either end. 1 when something had to be changed, 0, or negative errno. */
int proc_pty_reset(int fd);

/* As a terminal for people: with echo, and with what is erased shown as such. 0 or negative errno. */
int proc_pty_set_echo(int fd);

#endif
