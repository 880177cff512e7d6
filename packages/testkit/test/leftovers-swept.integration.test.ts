import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { spawnProcess, sweepLeftovers, waitFor } from '@stepwell/testkit'
import { expect, it } from 'vitest'

const OWNER = new URL('./owner-of-servers.ts', import.meta.url)

interface Started {
  ports: number[]
}

it('ends the servers and removes the folders of an owner that was killed', async () => {
  await using owner = spawnProcess(OWNER)
  const { ports } = await started(owner)
  await owner.kill('SIGKILL')
  // Detached as they are, they outlive it.
  expect(await Promise.all(ports.map(listens))).toEqual([true, true])
  const swept = sweepLeftovers().filter((folder) => folder.includes(`-${owner.pid}-`))
  expect(swept).toHaveLength(2)
  expect(swept.some(existsSync)).toBe(false)
  expect(await Promise.all(ports.map(listens))).toEqual([false, false])
})

it('leaves the servers of an owner that lives alone', async () => {
  await using owner = spawnProcess(OWNER)
  const { ports } = await started(owner)
  expect(sweepLeftovers().filter((folder) => folder.includes(`-${owner.pid}-`))).toEqual([])
  expect(await Promise.all(ports.map(listens))).toEqual([true, true])
})

it('has nothing to sweep after an owner that ended by itself without stopping them', async () => {
  await using owner = spawnProcess(OWNER, ['exit'])
  const { ports } = await started(owner)
  await owner.exited
  expect(await Promise.all(ports.map(listens))).toEqual([false, false])
  expect(sweepLeftovers().filter((folder) => folder.includes(`-${owner.pid}-`))).toEqual([])
})

async function started(owner: { stdout(): string; stderr(): string }): Promise<Started> {
  const line = await waitFor(() => /^\{.*\}$/m.exec(owner.stdout())?.[0], {
    what: 'the owner tells the ports of its servers',
    timeoutMs: 20_000,
  })
  return JSON.parse(line) as Started
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const answer = (on: boolean) => {
      socket.destroy()
      resolve(on)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
  })
}
