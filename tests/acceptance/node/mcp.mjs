// Works an official MCP SDK, the package named first, at the address and with the key named next:
// lists the tools, calls each of those given as JSON, [[name, arguments], ...], and prints it all.

const [name, address, key, calls] = process.argv.slice(2);
const { Client } = await import(`${name}/client/index.js`);
const { StreamableHTTPClientTransport } = await import(`${name}/client/streamableHttp.js`);

const client = new Client({ name: "acceptance", version: "1" });
const requestInit = { headers: { authorization: `Bearer ${key}` } };
const printed = {};
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(address), { requestInit }));
  printed.tools = (await client.listTools()).tools.map((tool) => tool.name);
  printed.results = [];
  for (const [tool, given] of JSON.parse(calls)) {
    printed.results.push(await client.callTool({ name: tool, arguments: given }));
  }
  await client.close();
} catch (error) {
  printed.error = String(error);
}
console.log(JSON.stringify(printed));
