import { spawnProcess, waitFor } from '@stepwell/testkit'
import { afterEach, expect, it, vi } from 'vitest'

const PROGRAM = new URL('./program-to-spawn.ts', import.meta.url)

afterEach(() => {
  vi.unstubAllEnvs()
})

it('runs TypeScript with its arguments and tells output and exit code', async () => {
  await using child = spawnProcess(PROGRAM, ['leave', 'with', 'words'])
  expect(await child.exited).toEqual({ code: 3, signal: null })
  expect(child.stdout()).toBe('["leave","with","words"]\n')
  expect(child.stderr()).toBe('leaving\n')
})

it('gives the child no service that it was not told of', async () => {
  vi.stubEnv('REDIS_URL', 'redis://precious')
  vi.stubEnv('STEPWELL_NAMESPACE', 'precious')
  await using child = spawnProcess(PROGRAM, ['tell'], { DATABASE_URL: 'postgres://told' })
  await child.exited
  expect(child.stdout()).toContain(
    'REDIS_URL undefined\nSTEPWELL_NAMESPACE undefined\nDATABASE_URL postgres://told\n',
  )
})

it('kills a child that holds on', async () => {
  await using child = spawnProcess(PROGRAM, ['stay'])
  await waitFor(() => child.stdout().includes('stay'), { what: 'the child is up' })
  expect(await child.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' })
})
