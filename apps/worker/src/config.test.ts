import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { environmentSchema, readEnvironment } from './config.ts'

const needed = { REDIS_URL: 'redis://127.0.0.1:6379', DATABASE_URL: 'postgres://postgres@127.0.0.1/postgres' }

test('defaults, and values in their units', () => {
  expect(readEnvironment(needed)).toMatchObject({
    STEPWELL_NAMESPACE: 'stepwell',
    STEPWELL_SHARDS: 1,
    STEPWELL_MIGRATE: true,
  })
  expect(readEnvironment({ ...needed, STEPWELL_MIGRATE: 'off', STEPWELL_SHARDS: '8' })).toMatchObject({
    STEPWELL_MIGRATE: false,
    STEPWELL_SHARDS: 8,
  })
})

test.each([
  [{}, /^REDIS_URL is not set: Redis that the producers write to/],
  [{ ...needed, REDIS_URL: 'localhost' }, /REDIS_URL: That is no Redis URL: use redis:/],
  [{ ...needed, REDIS_URL: 'redis+sentinel://a:1' }, /REDIS_URL: .*name of their master/],
  [{ ...needed, DATABASE_URL: 'mysql://x' }, /DATABASE_URL: a URL: postgres:/],
  [{ ...needed, STEPWELL_SHARDS: '0' }, /STEPWELL_SHARDS/],
  [{ ...needed, STEPWELL_MIGRATE: 'yes' }, /STEPWELL_MIGRATE/],
])('%o is refused with the name of the variable', (env, message) => {
  expect(() => readEnvironment(env)).toThrow(message)
})

test('the table in docs/OPERATIONS.md says the same', () => {
  const page = readFileSync(new URL('../../../docs/OPERATIONS.md', import.meta.url), 'utf8')
  for (const [name, schema] of Object.entries(environmentSchema.shape)) {
    const value = schema.safeParse(undefined).data
    const standard =
      value === undefined
        ? schema.safeParse(undefined).success
          ? ''
          : 'needed'
        : `\`${value === true ? 'on' : value}\``
    expect(page).toContain(`| \`${name}\` | ${standard} | ${schema.description} |`)
  }
})
