# Sourced by script/bench and script/soak: builds the programs that measure and finds the server to measure ($server).
script/setup build bench
if [ ! -f build/bench/build.ninja ]; then
	meson setup build/bench --buildtype=release >&2
fi
ninja -C build/bench bench/floor_pty bench/floor_bash bench/floor_bulk bench/floor_spawn bench/floor_http bench/client bench/round_trip bench/hosts \
	src/server/swerex-remote >&2
server=${CREX_SERVER-}
if [ -z "$server" ]; then
	server=build/bench/src/server/swerex-remote
	if [ -x dist/swerex-remote ]; then
		server=dist/swerex-remote
	fi
fi
echo "measuring $server" >&2
