// What every peer written in JavaScript shares: how it listens, says so, and ends.
//
// A peer listens on a port of 127.0.0.1 that the kernel picks, prints `ready URL`, and ends when
// its standard input closes: a test that is killed takes its peers along.
import http from 'node:http';

/** Listens with `handler(request, response)`, and calls `prepare(url)` before it says so. */
export async function serve(prepare) {
  let handler;
  const server = http.createServer((request, response) => handler(request, response));
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${server.address().port}`;
  handler = await prepare(url);
  process.stdin.on('end', () => process.exit(0)).resume();
  console.log(`ready ${url}`);
}

/** The whole body of a request as text. */
export async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
