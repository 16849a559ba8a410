// The page of `page/`, bundled with the published library and served on loopback, as an application would be.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const path = (name) => fileURLToPath(new URL(`../page/${name}`, import.meta.url));

/** The script with everything in it. */
async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [path('app.js')],
    bundle: true,
    format: 'esm',
    write: false,
    logLevel: 'warning',
    // The library's own bundle, with what it needs of Node in it.
    alias: { 'tool-db': 'tool-db/bundle.js' },
    // Asked for outside browsers only.
    external: ['crypto'],
    define: { global: 'globalThis' },
  });
  return outputFiles[0].contents;
}

/** Serves the page until the test ends; returns its address. */
export async function servePage(t) {
  const files = {
    '/': ['text/html; charset=utf-8', await readFile(path('index.html'))],
    '/app.js': ['text/javascript', await bundle()],
  };
  const server = createServer((request, response) => {
    const [type, body] = files[new URL(request.url, 'http://x').pathname] ?? [];
    response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}/`;
}
