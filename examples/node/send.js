// node send.js TYPE '{"text": "hello"}': sends one task, shows how far it is, and prints its value. Ctrl-C cancels it.
import { Client } from "./workerhost.js";

const [type, params = "null"] = process.argv.slice(2);
const client = new Client();
client.on("progress", (_, fraction, note) => console.error(`${Math.round(100 * fraction)} % ${note}`));
try {
  const id = await client.send(type, JSON.parse(params));
  console.error(`task ${id}`);
  process.on("SIGINT", () => client.cancel(id).catch(() => {})); // how it ended, the result tells
  const value = await client.result(id);
  console.log(JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
await client.close();
