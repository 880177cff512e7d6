import { spawnProcess, waitFor } from '@stepwell/testkit'
import { redisForFile, services } from '@stepwell/testkit/vitest'
import { expect, test } from 'vitest'

test('the demo shows what it promises, and ends by itself', async () => {
  await using demo = spawnProcess(new URL('../scripts/demo.ts', import.meta.url), [], {
    REDIS_URL: services().redisUrl,
    DATABASE_URL: services().postgresUrl,
  })
  expect(await demo.exited, demo.stderr()).toEqual({ code: 0, signal: null })
  const shown = demo.stdout()
  const traces = Number(/(\d+) traces in/.exec(shown)?.[1])
  expect(traces).toBeGreaterThanOrEqual(300)
  const [, emitted, stored] = /emitted (\d+) events = stored (\d+), no step missing/.exec(shown) ?? []
  expect(emitted).toBe(stored)
  expect(shown).toMatch(/call-service +160 /)
  expect(shown).toMatch(/release {2}success[\s\S]*publish[\s\S]*upload[\s\S]*checksum/)
  expect(shown).toMatch(/100 % .*ECONNREFUSED/)
  expect(shown.match(/ timeout .* train-\d .* No sign/g)).toHaveLength(3)
  expect(shown).toMatch(/No sign of life for 15 s, in step '(epoch-2|forward)'/)
  expect(shown).toMatch(/Done in \d+ s/)
})

test('dev says how to use what it started, and Ctrl-C stops it cleanly', async () => {
  const redisUrl = await redisForFile()
  await using dev = spawnProcess(new URL('../scripts/dev.ts', import.meta.url), [], {
    REDIS_URL: redisUrl,
    DATABASE_URL: services().postgresUrl,
  })
  await waitFor(() => dev.stdout().includes('Ctrl-C stops everything'), {
    what: 'it is up',
  })
  const said = (name: string): string => new RegExp(`export ${name}=(\\S+)`).exec(dev.stdout())?.[1] as string
  await using cli = spawnProcess(
    new URL('../apps/cli/src/main.ts', import.meta.url),
    ['run', '--execution', 'x', '--', 'true'],
    {
      REDIS_URL: said('REDIS_URL'),
      DATABASE_URL: said('DATABASE_URL'),
    },
  )
  expect((await cli.exited).code).toBe(0)
  const health = /(http:\S+)\/live/.exec(dev.stdout())?.[1] as string
  expect((await fetch(`${health}/ready`)).status).toBe(200)
  expect(await dev.kill('SIGINT')).toEqual({ code: 0, signal: null })
  expect(dev.stdout()).toMatch(/Stopped: nothing is left running\.\n$/)
  await expect(fetch(`${health}/live`)).rejects.toThrow()
})
