import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { TracerCounters } from '@stepwell/client'
import { waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { openFaultBench } from './fault-bench.ts'

const NOWHERE = 'redis://127.0.0.1:1'
const NOBODY = '65534'
const PRODUCER = fileURLToPath(new URL('./spooling-producer.ts', import.meta.url))
const EMITTED = 6_000 * 7
const FINISHED = /\.frames$/

/** Two producers at once, a look at what they leave behind, and a next start. */
const FILL_AND_SEND = `
REDIS_URL=${NOWHERE} "$NODE" "$PRODUCER" record "$FOLDER" & one=$!
REDIS_URL=${NOWHERE} "$NODE" "$PRODUCER" record "$FOLDER" & other=$!
wait $one && wait $other || exit
find "$FOLDER" -type f -not -name '*.frames'
"$NODE" "$PRODUCER" send "$FOLDER"`

/** A file system of its own, which ends with the processes that see it. */
const UNSHARE = ['unshare', '--user', '--map-root-user', '--mount'] as const
const SMALL_DISKS = [
  {
    around: UNSHARE,
    prelude: 'mount -t tmpfs -o size=1m none "$FOLDER"',
    told: 'ENOSPC',
    isHere: spawnSync(UNSHARE[0], [...UNSHARE.slice(1), 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0,
  },
  // Of each file only the first 64 KiB can be written.
  { around: ['env'], prelude: 'ulimit -f 128', told: 'EFBIG', isHere: true },
]

interface Said {
  counters: TracerCounters
  reports: string[]
}

test('spool-disk-full, read-only, moved away: never fatal, counted, and what is there is sent by the next start, once', async () => {
  await using bench = await openFaultBench()
  await bench.startWorker()
  let spooled = 0
  let sent = 0
  const folders: string[] = []
  const newFolder = (): string => {
    folders.push(mkdtempSync(join(tmpdir(), 'stepwell-spool-')))
    return folders.at(-1) as string
  }
  /** Runs a program to its end, which MUST be 0, and gives what its lines say. */
  const run = async (
    program: string,
    args: readonly string[],
    env: Record<string, string>,
  ): Promise<Said[]> => {
    const { stdout, stderr } = await promisify(execFile)(program, args, { env: { ...process.env, ...env } })
    expect(stderr).toBe('')
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  const produce = (redis: string, ...args: string[]): Promise<Said[]> =>
    run(process.execPath, [PRODUCER, ...args], { REDIS_URL: redis })
  /** Adds it up: emitted is what was sent, kept on disk, or lost, each counted. */
  const add = ({ counters }: Said): void => {
    const { emitted, dropped, buffered } = counters
    const lost = (dropped.buffer_full ?? 0) + (dropped.spool_full ?? 0)
    expect({ emitted, buffered }).toEqual({
      emitted: counters.sent + (counters.spooled ?? 0) + lost,
      buffered: 0,
    })
    spooled += counters.spooled ?? 0
    sent += counters.sent
  }

  try {
    for (const { around, prelude, told, isHere } of SMALL_DISKS) {
      if (!isHere) {
        console.log(`spool-disk-full: this machine lets nobody mount a disk, so ${told} is not tried`)
        continue
      }
      const [program = '', ...args] = [...around, 'sh', '-c', `${prelude} || exit 90${FILL_AND_SEND}`]
      const env = { REDIS_URL: bench.server.url, NODE: process.execPath, PRODUCER, FOLDER: newFolder() }
      const [one, other, next] = (await run(program, args, env)) as [Said, Said, Said]
      for (const each of [one, other]) {
        expect(each.counters.emitted).toBe(EMITTED)
        add(each)
      }
      const lost = [one, other].map(({ counters }) => counters.dropped.spool_full ?? 0)
      expect(Math.max(...lost)).toBeGreaterThan(0)
      const reports = [...one.reports, ...other.reports].filter((report) => report.startsWith('spool:'))
      expect(reports).toContainEqual(expect.stringMatching(`^spool: ${told}`))
      expect(reports.length).toBeLessThanOrEqual(2)
      expect(next.reports).toEqual([])
    }
    expect(spooled).toBeGreaterThan(EMITTED / 2)

    // Moved away while it is used: it is made anew, and what lies elsewhere can be brought back.
    const folder = newFolder()
    let isOver = false
    const moved = produce(NOWHERE, 'record', folder).finally(() => {
      isOver = true
    })
    const written = (): boolean =>
      existsSync(folder) && readdirSync(folder).some((name) => FINISHED.test(name))
    const away: string[] = []
    while (away.length < 3 && !isOver) {
      await waitFor(() => isOver || written(), { what: 'something is written', intervalMs: 1 })
      if (!written()) continue
      away.push(`${folder}-${away.length}`)
      renameSync(folder, away.at(-1) as string)
    }
    folders.push(...away)
    expect(away.length).toBeGreaterThan(0)
    add(((await moved) as [Said])[0])
    mkdirSync(folder, { recursive: true })
    for (const place of away)
      for (const name of readdirSync(place))
        if (FINISHED.test(name)) renameSync(join(place, name), join(folder, name))

    // Read-only: what lies there stays, what is recorded now is sent, or counted.
    chmodSync(folder, 0o555)
    const files = readdirSync(folder)
    for (const redis of [NOWHERE, bench.server.url]) {
      const [said] = (await produce(redis, 'record', folder, NOBODY)) as [Said]
      add(said)
      expect(said.reports.filter((report) => /^spool: EACCES/.test(report))).toHaveLength(1)
      expect({ redis, ...said.counters }).toMatchObject({ redis, spooled: 0 })
      expect(readdirSync(folder)).toEqual(files)
    }
    expect(sent).toBeGreaterThan(0)
    chmodSync(folder, 0o755)
    await produce(bench.server.url, 'send', folder)

    const account = await bench.account(new Map())
    expect({ ...account, unknown: [] }).toMatchObject({
      dead: [],
      leftKeys: [],
      unaccountedEntries: 0,
      complaints: [],
    })
    const [stored] = await bench.rows(
      `select (count(*) + sum(step_count) + count(*) filter (where status = 'success'))::int events,
              count(*) filter (where status <> 'success')::int running, sum(step_count + missing_steps)::int steps, count(*)::int traces
         from execution_traces`,
    )
    const traces = account.unknown.length
    expect(stored).toEqual({ events: sent + spooled, running: 0, steps: traces * 5, traces })
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
})
