// node send.js TYPE '{"text": "hello"}': sends one task, shows how far it is, and prints its value. Ctrl-C cancels it.
import { Client } from "./workerhost.js";

const [type, params = "null"] = process.argv.slice(2);
const client = new Client();
const id = await client.send(type, JSON.parse(params));
console.error(`task ${id}`);
process.on("SIGINT", () => client.cancel(id));
client.on("progress", (_, fraction, note) => console.error(`${Math.round(100 * fraction)} % ${note}`));
try {
  console.log(JSON.stringify(await client.result(id)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
await client.close();
