import { expect, test } from 'vitest'
import { troubleReporter, withoutContents } from './trouble.ts'

test('what failed is told without its arguments and its row, also inside of other errors', () => {
  const reply = Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['secret'] } })
  const node = Object.assign(new Error('all failed'), { lastNodeError: reply })
  const outer = new Error('outer', { cause: node })
  expect(withoutContents(outer)).toBe(outer)
  expect(reply).not.toHaveProperty('command')
  const row = Object.assign(new Error('violates check'), {
    code: '23514',
    detail: 'Failing row contains (secret)',
  })
  expect(withoutContents(row)).toMatchObject({ code: '23514', message: 'violates check' })
  expect(row).not.toHaveProperty('detail')
  const circle = Object.assign(new Error('circle'), { self: undefined as unknown })
  circle.self = circle
  expect(withoutContents(circle)).toBe(circle)
  expect(withoutContents('text')).toBe('text')
})

test('each kind is logged once a minute, and all are counted', () => {
  let [logged, counted] = [0, 0]
  const log = { warn: () => (logged += 1) }
  const report = troubleReporter(log as never, { inc: () => (counted += 1) })
  for (let i = 0; i < 5; i++) report(new Error('the same'))
  report(new Error('another'))
  expect({ logged, counted }).toEqual({ logged: 2, counted: 6 })
})
