import { expect, it } from 'vitest'
import { waitFor } from './wait-for.ts'

it('gives the first truthy value', async () => {
  const answers = [undefined, 0, 'here']
  expect(await waitFor(() => answers.shift(), { what: 'an answer', intervalMs: 1 })).toBe('here')
})

it('takes an error for not yet', async () => {
  let tries = 0
  const condition = async (): Promise<number> => {
    tries++
    if (tries < 3) throw new Error('not yet')
    return tries
  }
  expect(await waitFor(condition, { what: 'the third try', intervalMs: 1 })).toBe(3)
})

it('names what it waited for and the last value', async () => {
  await expect(waitFor(() => false, { what: 'the trace is stored', timeoutMs: 20 })).rejects.toThrow(
    'Waited 20 ms in vain: the trace is stored (last value: false)',
  )
})

it('names the last error and keeps it as the cause', async () => {
  const cause = new Error('connection refused')
  const waiting = waitFor(() => Promise.reject(cause), { what: 'Redis answers', timeoutMs: 20 })
  await expect(waiting).rejects.toMatchObject({
    message: 'Waited 20 ms in vain: Redis answers (last error: connection refused)',
    cause,
  })
})

it('gives up on a condition that hangs', async () => {
  const waiting = waitFor(() => new Promise(() => {}), { what: 'an answer', timeoutMs: 20 })
  await expect(waiting).rejects.toThrow('Waited 20 ms in vain: an answer (no answer yet)')
})
