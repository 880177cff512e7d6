// A server whose requests are traces, with one line.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ExecutionTracer, step } from '@stepwell/client'
import { tracedListener } from '@stepwell/client/http'

const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, service: 'shop' })

const server = createServer(
  tracedListener(tracer, async (request, response) => {
    const order = await step('load-order', async () => ({
      id: Number(/\d+/.exec(request.url ?? '')?.[0]),
      items: 3,
    }))
    if (order.id === 13) {
      response.statusCode = 503
      response.end('try again')
      return
    }
    response.end(await step('render', async () => JSON.stringify(order)))
  }),
)
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

for (const id of [12, 13]) {
  const response = await fetch(`${url}/orders/${id}?token=secret`)
  console.log(response.status, await response.text())
}

server.close()
server.closeAllConnections()
await tracer.close()
