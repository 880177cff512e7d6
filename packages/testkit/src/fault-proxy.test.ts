import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type FaultProxy, faultProxy } from './fault-proxy.ts'
import { waitFor } from './wait-for.ts'

let echo: Server
let echoed: Socket[]
let proxy: FaultProxy
let client: Socket
let received: string

beforeEach(async () => {
  echoed = []
  echo = createServer((socket) => {
    echoed.push(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  proxy = await faultProxy(`redis://user:secret@127.0.0.1:${(echo.address() as AddressInfo).port}/7`)
  client = await dial()
})

afterEach(async () => {
  client.destroy()
  await proxy.close()
  echo.close()
})

async function dial(): Promise<Socket> {
  const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1')
  received = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    received += chunk
  })
  await once(socket, 'connect')
  return socket
}

function receives(text: string): Promise<boolean> {
  return waitFor(() => received === text, { what: `the client receives ${text}` })
}

it('keeps user, password and path of the URL', () => {
  expect(proxy.url).toMatch(/^redis:\/\/user:secret@127\.0\.0\.1:\d+\/7$/)
})

it('passes bytes and the end on, in both directions', async () => {
  client.end('hello')
  await once(client, 'end')
  expect(received).toBe('hello')
})

it('cuts what is open and takes new connections', async () => {
  client.write('a')
  await receives('a')
  proxy.cut()
  await once(client, 'close')
  await waitFor(() => echoed[0]?.destroyed, { what: 'the server sees the cut' })
  client = await dial()
  client.write('b')
  await receives('b')
})

it('holds bytes back while paused, and loses none of them', async () => {
  client.write('a')
  await receives('a')
  proxy.pause()
  client.write('b')
  await pastTheProxy()
  expect(received).toBe('a')
  proxy.resume()
  await receives('ab')
})

it('takes new connections while paused and holds them too', async () => {
  proxy.pause()
  client.destroy()
  client = await dial()
  client.write('a')
  await pastTheProxy()
  expect(received).toBe('')
  proxy.resume()
  await receives('a')
})

it('does not tell the client that the server has gone while paused', async () => {
  client.write('a')
  await receives('a')
  // More than all buffers on the way hold: the reset then breaks a write of the proxy, which would notice nothing otherwise.
  echoed[0]?.unpipe().pause()
  client.write(Buffer.alloc(32 * 1024 * 1024))
  proxy.pause()
  echoed[0]?.resetAndDestroy()
  await pastTheProxy()
  expect(client.closed).toBe(false)
  proxy.resume()
  await waitFor(() => client.closed, { what: 'the client sees the end' })
})

it('half-open: swallows what is sent and tells neither side of the other’s end, for good; others and new ones work', async () => {
  client.write('a')
  await receives('a')
  const [dead, deadEcho] = [client, echoed[0] as Socket]
  let heard = ''
  dead.on('data', (chunk) => {
    heard += chunk
  })
  client = await dial()
  client.write('b')
  await receives('b')
  expect(proxy.ports()).toEqual(echoed.map((socket) => socket.remotePort))
  proxy.halfOpen([deadEcho.remotePort as number])
  // More than buffers on the way hold.
  dead.write(Buffer.alloc(32 * 1024 * 1024))
  await waitFor(() => dead.writableLength === 0, { what: 'it is swallowed' })
  proxy.pause()
  proxy.resume()
  deadEcho.resetAndDestroy()
  client.write('c')
  await receives('bc')
  expect([heard, dead.closed]).toEqual(['', false])
  const [other, otherEcho] = [client, echoed[1] as Socket]
  proxy.halfOpen()
  other.destroy()
  client = await dial()
  client.write('d')
  await receives('d')
  expect(otherEcho.closed).toBe(false)
  dead.destroy()
})

it('refuses new connections and keeps the open one', async () => {
  client.write('a')
  await receives('a')
  proxy.refuse(true)
  const refused = connect(Number(new URL(proxy.url).port), '127.0.0.1')
  refused.on('error', () => {})
  await once(refused, 'close')
  client.write('b')
  await receives('ab')
  proxy.refuse(false)
  const taken = await dial()
  taken.write('c')
  await receives('c')
  taken.destroy()
})

/** Takes 20 round trips to the echo server itself: what was to come through the proxy meanwhile would have. */
async function pastTheProxy(): Promise<void> {
  const socket = connect((echo.address() as AddressInfo).port, '127.0.0.1')
  for (let trip = 0; trip < 20; trip++) {
    socket.write('ping')
    await once(socket, 'data')
  }
  socket.destroy()
}
