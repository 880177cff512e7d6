// What PgBouncer is in transaction mode, and as unkind as it may be: each transaction goes to the connection that was longest unused, so
// that two of one client never meet on the same. A connection to the server is free ⇄ lent, from a client's first message to the end of its
// transaction; a client that leaves amid one takes it along.
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A pooler on loopback. `await using` closes it. */
export interface TransactionPooler extends AsyncDisposable {
  /** The target's URL with host and port of the pooler. */
  url: string
  /** Ends all connections and stops to listen. Idempotent. */
  close(): Promise<void>
}

/** What clients may ask for when they connect, as with PgBouncer: it keeps track of these. */
const STARTUP_PARAMETERS = new Set([
  'user',
  'database',
  'application_name',
  'client_encoding',
  'datestyle',
  'standard_conforming_strings',
  'timezone',
])
const PROTOCOL = 196_608
const CANCEL = 80_877_102

interface ServerConnection {
  socket: Socket
  /** Gets its messages while it is lent. */
  client: Client | undefined
}

interface Client {
  socket: Socket
  server: ServerConnection | undefined
  /** Messages that wait for a connection. */
  waiting: Buffer[]
}

/** Starts a pooler to the database of this URL, with so many connections of its user, who needs no password. The caller closes it. */
export async function transactionPooler(targetUrl: string, size = 3): Promise<TransactionPooler> {
  const target = new URL(targetUrl)
  const free: ServerConnection[] = []
  const queue: Client[] = []
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.setNoDelay(true)
    // The close that follows says the same.
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  }
  let closed: Promise<unknown> | undefined
  /** What the server tells of itself, for each client. */
  let greeting: Buffer[] = []

  const setFree = (server: ServerConnection): void => {
    if (server.client !== undefined) server.client.server = undefined
    server.client = undefined
    free.push(server)
    const next = queue.shift()
    if (next !== undefined) lend(next)
  }
  const lend = (client: Client): void => {
    const server = free.shift()
    if (server === undefined) {
      queue.push(client)
      return
    }
    client.server = server
    server.client = client
    for (const message of client.waiting.splice(0)) server.socket.write(message)
  }

  const openServer = async (): Promise<void> => {
    const socket = connect(Number(target.port), target.hostname)
    keep(socket)
    const server: ServerConnection = { socket, client: undefined }
    const told: Buffer[] = []
    const ready = new Promise<void>((resolve) => {
      let isReady = false
      socket.on(
        'data',
        inMessages((message) => {
          if (isReady) server.client?.socket.write(message)
          else if (typeOf(message) === 'S') told.push(message)
          if (typeOf(message) !== 'Z' || message[5] !== IDLE) return
          isReady = true
          greeting = told
          setFree(server)
          resolve()
        }),
      )
    })
    socket.write(startup({ user: target.username, database: target.pathname.slice(1) }))
    await ready
  }

  const listener = createServer((socket) => {
    keep(socket)
    const client: Client = { socket, server: undefined, waiting: [] }
    socket.once('data', (first: Buffer) => {
      const refused =
        first.readInt32BE(4) === CANCEL || first.readInt32BE(4) !== PROTOCOL
          ? 'unsupported packet'
          : unsupported(first)
      if (refused !== undefined) {
        socket.end(message('E', `SFATAL\0C08P01\0M${refused}\0\0`))
        return
      }
      socket.write(Buffer.concat([message('R', Buffer.alloc(4)), ...greeting]))
      // Not that of any connection: it does not stay with one.
      socket.write(Buffer.concat([message('K', int32s(randomInt(2 ** 30) + 2 ** 30, 0)), message('Z', 'I')]))
      socket.on(
        'data',
        inMessages((bytes) => {
          if (typeOf(bytes) === 'X') socket.end()
          else if (client.server !== undefined) client.server.socket.write(bytes)
          else if (client.waiting.push(bytes) === 1) lend(client)
        }),
      )
    })
    socket.on('close', () => {
      const at = queue.indexOf(client)
      if (at >= 0) queue.splice(at, 1)
      if (client.server === undefined || closed !== undefined) return
      client.server.socket.destroy()
      void openServer()
    })
  })
  for (let i = 0; i < size; i++) await openServer()
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')

  const close = async (): Promise<void> => {
    closed ??= once(listener.close(), 'close')
    for (const socket of sockets) socket.destroy()
    await closed
  }
  const url = new URL(targetUrl)
  url.hostname = '127.0.0.1'
  url.port = String((listener.address() as AddressInfo).port)
  return { url: url.href, close, [Symbol.asyncDispose]: close }
}

const IDLE = 'I'.charCodeAt(0)

const typeOf = (bytes: Buffer): string => String.fromCharCode(bytes[0] as number)

/** Hands on messages whole (https://www.postgresql.org/docs/current/protocol-message-formats.html): a letter, its length, what it says. */
function inMessages(take: (message: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
      const end = 1 + rest.readInt32BE(1)
      const whole = rest.subarray(0, end)
      rest = rest.subarray(end)
      take(whole)
    }
  }
}

function message(type: string, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([Buffer.from(type), int32s(bytes.length + 4), bytes])
}

function int32s(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length)
  for (const [i, number] of numbers.entries()) bytes.writeInt32BE(number, 4 * i)
  return bytes
}

function startup(parameters: Readonly<Record<string, string>>): Buffer {
  const said = Buffer.from(`${Object.entries(parameters).flat().join('\0')}\0\0`)
  return Buffer.concat([int32s(said.length + 8, PROTOCOL), said])
}

/** What PgBouncer says to a first message that asks for more. */
function unsupported(first: Buffer): string | undefined {
  const said = first.subarray(8).toString().split('\0')
  const name = said.find((word, i) => i % 2 === 0 && word !== '' && !STARTUP_PARAMETERS.has(word))
  return name === undefined ? undefined : `unsupported startup parameter: ${name}`
}
