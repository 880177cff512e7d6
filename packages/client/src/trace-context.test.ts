import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { TraceContext } from './index.ts'

const ID = '01a20be2-67dc-71f6-95e3-53220d4b476b'

/** A connection that a host lends, as far as it is used. */
class Lent extends EventEmitter {
  status = 'reconnecting'
  readonly keys: string[] = []
  xadd(): void {}
  async set(key: string): Promise<string> {
    this.keys.push(key)
    return 'OK'
  }
}

test('what waits for Redis is asked when it is back, what was given up is not, and one listener serves all', async () => {
  const lent = new Lent()
  const context = new TraceContext(lent as never)
  for (let outage = 0; outage < 3; outage++) {
    lent.status = 'reconnecting'
    const waits = context.setTraceId(`waits-${outage}`, ID)
    lent.status = 'ready'
    lent.emit('ready')
    expect(await waits).toBe(true)
  }
  lent.status = 'reconnecting'
  expect(await context.setTraceId('given-up', ID)).toBe(false)
  lent.status = 'ready'
  lent.emit('ready')
  await new Promise((resolve) => setImmediate(resolve))
  expect(lent.keys).toEqual([0, 1, 2].map((outage) => `trace_context:waits-${outage}`))
  expect(lent.listenerCount('ready')).toBe(1)
  await context.close()
  expect(lent.listenerCount('ready')).toBe(0)
})
