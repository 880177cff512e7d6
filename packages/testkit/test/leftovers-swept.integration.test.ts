import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnProcess, sweepLeftovers, waitFor } from '@stepwell/testkit'
import { expect, it } from 'vitest'
import { childrenOf } from '../src/process-tree.ts'

const OWNER = new URL('./owner-of-servers.ts', import.meta.url)

interface Started {
  ports: number[]
}

it('leaves nothing behind when the owner is killed', async () => {
  await using owner = spawnProcess(OWNER)
  const { ports } = await started(owner)
  await owner.kill('SIGKILL')
  await isClean(owner.pid, ports)
})

it('leaves nothing behind when the owner ends without stopping them, one being paused', async () => {
  await using owner = spawnProcess(OWNER, ['pause', 'exit'])
  const { ports } = await started(owner)
  await owner.exited
  await isClean(owner.pid, ports)
})

it('sweeps what is left when the reapers were killed too', async () => {
  await using owner = spawnProcess(OWNER)
  const { ports } = await started(owner)
  process.kill(owner.pid, 'SIGSTOP')
  const children = childrenOf(owner.pid)
  const servers = foldersOf(owner.pid).map((folder) => serverIn(folder))
  for (const reaper of children.filter((pid) => !servers.includes(pid))) process.kill(reaper, 'SIGKILL')
  await owner.kill('SIGKILL')
  expect(await Promise.all(ports.map(listens))).toEqual([true, true])
  const folders = foldersOf(owner.pid)
  expect(folders).toHaveLength(2)
  expect(sweepLeftovers()).toEqual(expect.arrayContaining(folders))
  await isClean(owner.pid, ports)
})

it('leaves the servers of an owner that lives alone', async () => {
  await using owner = spawnProcess(OWNER)
  const { ports } = await started(owner)
  sweepLeftovers()
  expect(foldersOf(owner.pid)).toHaveLength(2)
  expect(await Promise.all(ports.map(listens))).toEqual([true, true])
})

function foldersOf(owner: number): string[] {
  const parent = realpathSync(tmpdir())
  const names = readdirSync(parent).filter((name) => new RegExp(`^stepwell-[a-z]+-${owner}-`).test(name))
  return names.map((name) => join(parent, name))
}

function serverIn(folder: string): number {
  return (JSON.parse(readFileSync(join(folder, 'process.json'), 'utf8')) as { pid: number }).pid
}

async function isClean(owner: number, ports: number[]): Promise<void> {
  const what = `the servers of ${owner} are gone with their folders`
  await waitFor(
    async () => foldersOf(owner).length === 0 && !(await Promise.all(ports.map(listens))).some(Boolean),
    // A second to obey, five until a zombie that nobody collects is given up, and a busy machine.
    { what },
  )
}

async function started(owner: { stdout(): string; stderr(): string }): Promise<Started> {
  const line = await waitFor(() => /^\{.*\}$/m.exec(owner.stdout())?.[0], {
    what: 'the owner tells the ports of its servers',
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
