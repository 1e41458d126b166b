# Common to tests/engines/{start,images,stop}: where things are, what runs, and the lines that callers read.
#
# State directory ($CREX_ENGINES, default build/engines):
#   env         the lines that start prints: NAME='value', for `eval` or shlex
#   bin/        docker and podman: wrappers around Debian's clients which know this instance
#   docker/     daemon.json, data root, exec root, socket, pid, log
#   podman/     configuration, storage, socket, pid, log
#   registry/   configuration, storage, pids, logs
# shellcheck shell=bash

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=${CREX_ENGINES:-$tree/build/engines}
mkdir -p "$state"
state=$(cd "$state" && pwd)
docker_socket=$state/docker/docker.sock
podman_socket=$state/podman/podman.sock
prefix=localhost/crex-test
user=crex
export PATH=$PATH:/usr/sbin:/sbin

note() { echo "engines: $*" >&2; }
skip() { # part, reason
	note "$1: $2"
	echo "$2" >"$state/$1.skip"
}
last_words() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | cut -c 1-300; }

# One start, images or stop at a time; those that are started don't inherit the lock (9>&-).
lock() {
	exec 9>"$state/lock"
	flock 9
}

# The process of a pid file, if it is still the one that was started: its command line names the state directory.
alive() { # pid file
	local pid
	pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && grep -qsF "$state/" "/proc/$pid/cmdline"
}

ask() { curl -s -m 5 --noproxy '*' "$@"; }
answers() { # socket
	[ -S "$1" ] && [ "$(ask --unix-socket "$1" http://localhost/_ping)" = OK ]
}
docker_runs() { alive "$state/docker/pid" && answers "$docker_socket"; }
podman_runs() { alive "$state/podman/pid" && answers "$podman_socket"; }
registry_runs() { # open or auth
	[ -f "$state/registry/$1.address" ] && alive "$state/registry/$1.pid" &&
		case $(ask -o /dev/null -w '%{http_code}' "http://$(cat "$state/registry/$1.address")/v2/") in
		200 | 401) true ;;
		*) false ;;
		esac
}

# Waits for a condition, while a process lives.
wait_for() { # seconds, pid file or "", command...
	local end=$((SECONDS + $1)) pid_file=$2
	shift 2
	until "$@"; do
		if [ -n "$pid_file" ] && ! alive "$pid_file"; then return 1; fi
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

not() { ! "$@"; }

line() { printf "%s='%s'\n" "$1" "${2//\'/\'\\\'\'}"; }

# Those who stand between an engine and its containers, where the engine itself is gone or didn't end them; then what
# it left mounted. Containers are told by their parents.
strays() { # directory
	local entry
	for entry in /proc/[0-9]*; do
		case $(cat "$entry/comm" 2>/dev/null) in
		containerd | containerd-shim* | conmon | dockerd | podman)
			if grep -qsF "$1/" "$entry/cmdline"; then echo "${entry#/proc/}"; fi
			;;
		esac
	done
}
no_strays() { [ -z "$(strays "$1")" ]; }
end_strays() { # directory
	local pids pid
	pids=$(strays "$1")
	[ -n "$pids" ] || return 0
	for pid in $pids; do
		pkill -KILL -P "$pid" 2>/dev/null || true
	done
	# shellcheck disable=SC2086
	kill $pids 2>/dev/null || true
	# shellcheck disable=SC2046
	wait_for 5 "" no_strays "$1" || kill -KILL $(strays "$1") 2>/dev/null || true
	wait_for 5 "" no_strays "$1"
}
unmount() { # directory
	local target
	awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r target; do
		umount "$target" 2>/dev/null || umount -l "$target" 2>/dev/null || true
	done
}

docker_images() { client_images docker; }
podman_images() { client_images podman; }
client_images() {
	[ -f "$state/$1.skip" ] || ! "$1_runs" || "$state/bin/$1" images --format '{{.Repository}}' | one_line "s|^$prefix/||p"
}
registry_images() {
	! registry_runs open || ask "http://$(cat "$state/registry/open.address")/v2/_catalog" |
		grep -o '"crex-test/[^"]*"' | one_line 's|^"crex-test/\(.*\)"$|\1|p'
}
one_line() { # sed script
	sed -n "$1" | sort -u | tr '\n' ' ' | sed 's/ $//'
}

# What runs now, and why the rest doesn't ($state/*.skip).
write_env() {
	local part name names all=""
	{
		line CREX_ENGINES "$state"
		if docker_runs && [ ! -f "$state/docker.skip" ]; then
			line CREX_DOCKER_HOST "unix://$docker_socket"
			line CREX_DOCKER "$state/bin/docker"
		else
			line CREX_DOCKER_SKIP "$(cat "$state/docker.skip" 2>/dev/null || echo "not started")"
		fi
		if podman_runs && [ ! -f "$state/podman.skip" ]; then
			line CREX_PODMAN_HOST "unix://$podman_socket"
			line CREX_PODMAN "$state/bin/podman"
		else
			line CREX_PODMAN_SKIP "$(cat "$state/podman.skip" 2>/dev/null || echo "not started")"
		fi
		if registry_runs open && registry_runs auth; then
			line CREX_REGISTRY "$(cat "$state/registry/open.address")"
			line CREX_REGISTRY_AUTH "$(cat "$state/registry/auth.address")"
			line CREX_REGISTRY_USER "$user"
			line CREX_REGISTRY_PASSWORD "$(cat "$state/registry/password")"
		else
			line CREX_REGISTRY_SKIP "$(cat "$state/registry.skip" 2>/dev/null || echo "not started")"
		fi
		for part in docker podman registry; do
			names=$("${part}_images")
			[ -z "$names" ] || line "CREX_${part^^}_IMAGES" "$names"
			[ $part = registry ] || all="$all $names"
		done
		for name in $(tr ' ' '\n' <<<"$all" | sort -u); do line "CREX_IMAGE_${name^^}" "$prefix/$name"; done
	} >"$state/env.part"
	mv "$state/env.part" "$state/env"
	cat "$state/env"
}
