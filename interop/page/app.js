// An application in a browser: it knows one server, asks it for those that live, and talks to all of them with the
// published library. `?server=HOST:PORT&topic=TEXT` says which server, of which application.

import ecdsa from '@tool-db/ecdsa-user';
import indexedDbStore from '@tool-db/indexeddb-store';
import library from 'tool-db';

const parameters = new URLSearchParams(location.search);
const known = parameters.get('server');
const topic = parameters.get('topic') ?? 'tool-db-default';

/** Carries the library's frames over the browser's WebSocket. */
class BrowserNetwork extends library.ToolDbNetworkAdapter {
  connectTo(host, port, ssl) {
    const socket = new WebSocket(`${ssl ? 'wss' : 'ws'}://${host}:${port}`);
    let id = null;
    socket.onopen = async () => socket.send(await this.craftPingMessage());
    socket.onmessage = ({ data }) => {
      this.onClientMessage(data, id, (claimed) => {
        id = claimed;
        this.isClientConnected[id] = () => socket.readyState === WebSocket.OPEN;
        this.clientToSend[id] = (message) => socket.send(message);
      });
    };
    socket.onclose = () => {
      if (id) this.onClientDisconnect(id);
    };
    return socket;
  }
}

/** The servers that live, as the known one says; those of the last time where it does not answer. */
async function servers() {
  try {
    const list = await (await fetch(`${location.protocol}//${known}/servers`)).json();
    localStorage.setItem('servers', JSON.stringify(list));
    return list;
  } catch {
    return JSON.parse(localStorage.getItem('servers') ?? '[]');
  }
}

function item(list, text) {
  const line = document.createElement('li');
  line.textContent = text;
  document.getElementById(list).append(line);
  return line;
}

function say(text) {
  document.getElementById('said').textContent = text;
}

/** Does what a form asks for, and says what came of it. */
function on(form, act) {
  document.getElementById(form).addEventListener('submit', async (event) => {
    event.preventDefault();
    say('…');
    try {
      say(await act(Object.fromEntries(new FormData(event.target))));
    } catch (error) {
      say(`${form}: ${error.message ?? error}`);
    }
  });
}

const db = new library.ToolDb({
  networkAdapter: BrowserNetwork,
  storageAdapter: indexedDbStore.default,
  userAdapter: ecdsa.default,
  storageName: `page ${topic}`,
  topic,
});
await db.ready;
await db.anonSignIn();
for (const { host, port, ssl } of await servers()) {
  const line = item('servers', `${host}:${port}${ssl ? ' over TLS' : ''}`);
  const socket = db.network.connectTo(host, port, ssl);
  socket.addEventListener('open', () => line.classList.add('connected'));
  socket.addEventListener('close', () => line.classList.remove('connected'));
}
db.on('data', ({ k, v }) => item('heard', `${k} = ${JSON.stringify(v)}`));
on('signup', async ({ user, password }) => {
  await db.signUp(user, password);
  await db.signIn(user, password);
  return `signed up as ${user}`;
});
on('put', async ({ key, value }) => {
  await db.putData(key, value);
  return `put ${key}`;
});
on('get', async ({ key }) => `${key} = ${JSON.stringify(await db.getData(key))}`);
on('subscribe', async ({ key }) => {
  await db.subscribeData(key);
  return `subscribed to ${key}`;
});
say('ready');
