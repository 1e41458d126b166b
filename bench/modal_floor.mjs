// The floor of bench/modal.py: Modal's own npm client on the same way, from the image to the reply to a first command.
//   node modal_floor.mjs SERVER TIMES      prints seconds, a line each
// The packages are the stand-in's (CREX_MODAL_PACKAGES), the addresses and tokens those of its environment file.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import https from "node:https";
import path from "node:path";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const from = createRequire(path.join(process.env.CREX_MODAL_PACKAGES, "package.json"));
const { ModalClient } = await import(pathToFileURL(from.resolve("modal").replace(/index\.cjs$/, "index.js")));
const [server, times] = process.argv.slice(2);
const agent = new https.Agent({ ca: readFileSync(process.env.MODAL_FIXTURE_CA), keepAlive: true });
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

function ask(url, token, body) {
	return new Promise((resolve, reject) => {
		const options = { agent, method: body ? "POST" : "GET", headers: { "X-API-Key": token, "Content-Type": "application/json" } };
		const request = https.request(url, options, async (reply) => {
			let text = "";
			for await (const chunk of reply) text += chunk;
			reply.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(text));
		});
		request.on("error", reject);
		request.end(body && JSON.stringify(body));
	});
}

async function live(first) {
	const began = performance.now();
	const modal = new ModalClient({ logger: quiet });
	const token = randomBytes(16).toString("hex");
	const app = await modal.apps.fromName("swe-rex", { createIfMissing: true });
	// what the sandbox runs is in the machine's root, which is the image's here: no layer with the server is made
	const image = modal.images.fromRegistry("python:3.11");
	const sandbox = await modal.sandboxes.create(app, image, {
		command: [server, "--host", "0.0.0.0", "--port", "8880"],
		encryptedPorts: [8880],
		timeoutMs: 3600000,
		secrets: [await modal.secrets.fromObject({ SWEREX_AUTH_TOKEN: token })],
	});
	const { url } = (await sandbox.tunnels())[8880];
	for (let pause = 5; ; pause = Math.min(pause * 1.5, 250)) {
		if (await ask(`${url}/is_alive`, token).catch(() => null)) break;
		await sleep(pause);
	}
	await ask(`${url}/create_session`, token, { session_type: "bash", startup_timeout: 30 });
	const said = await ask(`${url}/run_in_session`, token, { action_type: "bash", command: "echo hi", check: "silent" });
	if (said.output !== "hi\n") throw new Error(said.output);
	if (!first) console.log((performance.now() - began) / 1000);
	await sandbox.terminate();
}

await live(true);
for (let i = 0; i < Number(times); i++) await live(false);
process.exit(0);
