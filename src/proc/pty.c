/* proc/pty.c: pty pairs and the line discipline of a session.
 *
 * The slave is opened through the master (TIOCGPTPEER), so that no path below /dev/pts is needed: it may be another
 * devpts than ours in a container. Kernels before 4.13 lack the ioctl and get the path. A fresh tty's settings are
 * written out here rather than read from the pty once, since the user's `stty raw` must be undone long after birth.
 * Master and slave are CLOEXEC from the moment they exist. */
#include "proc/pty.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ttydefaults.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

int proc_pty_reset(int fd)
{
	struct termios t;
	if (tcgetattr(fd, &t) < 0)
		return -errno;
	const struct termios now = t;
	/* What the kernel gives a new tty (tty_std_termios), but for echo. */
	t.c_iflag = ICRNL | IXON;
	t.c_oflag = OPOST | ONLCR;
	t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB | CLOCAL)) | CS8 | CREAD;
	t.c_lflag = ISIG | ICANON | IEXTEN;
	memset(t.c_cc, 0, sizeof t.c_cc);
	t.c_cc[VINTR] = CINTR;
	t.c_cc[VQUIT] = CQUIT;
	t.c_cc[VERASE] = CERASE;
	t.c_cc[VKILL] = CKILL;
	t.c_cc[VEOF] = CEOF;
	t.c_cc[VMIN] = 1;
	t.c_cc[VSTART] = CSTART;
	t.c_cc[VSTOP] = CSTOP;
	t.c_cc[VSUSP] = CSUSP;
	t.c_cc[VREPRINT] = CREPRINT;
	t.c_cc[VDISCARD] = CDISCARD;
	t.c_cc[VWERASE] = CWERASE;
	t.c_cc[VLNEXT] = CLNEXT;
	/* setting what is set already would still wake every reader of the terminal */
	if (t.c_iflag == now.c_iflag && t.c_oflag == now.c_oflag && t.c_lflag == now.c_lflag &&
	    memcmp(t.c_cc, now.c_cc, sizeof t.c_cc) == 0)
		return 0;
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 1;
}

int proc_pty_set_echo(int fd)
{
	struct termios t;
	if (tcgetattr(fd, &t) < 0)
		return -errno;
	t.c_iflag |= IUTF8;
	t.c_lflag |= ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE;
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 0;
}

static int open_slave(int master)
{
	int fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	unsigned number;
	if (ioctl(master, TIOCGPTN, &number) < 0)
		return -errno;
	char path[32];
	snprintf(path, sizeof path, "/dev/pts/%u", number);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int proc_pty_open(int rows, int cols, int *ret_master, int *ret_slave)
{
	cleanup_fd int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (master < 0)
		master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (master < 0)
		return -errno;
	int unlock = 0;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	cleanup_fd int slave = open_slave(master);
	if (slave < 0)
		return slave;
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
	if (ioctl(slave, TIOCSWINSZ, &size) < 0)
		return -errno;
	int r = proc_pty_reset(slave);
	if (r < 0)
		return r;
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}
