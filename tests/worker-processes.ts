import { setTimeout as after } from 'node:timers/promises'
import type { ExecutionTracer } from '@stepwell/client'
import { type SpawnedProcess, spawnProcess, waitFor } from '@stepwell/testkit'
import pg from 'pg'
import { expect } from 'vitest'

/** A worker in a process of its own. */
export interface WorkerProcess extends SpawnedProcess {
  /** What it counted as trouble so far. */
  troubles(): Promise<number>
}

/** Starts workers, and waits until they read. */
export async function startWorkers(
  count: number,
  env: Readonly<Record<string, string>>,
): Promise<WorkerProcess[]> {
  const workers = Array.from({ length: count }, () => spawnWorker(env))
  await Promise.all(
    workers.map((worker) =>
      waitFor(() => worker.stdout().includes('worker reads'), {
        what: 'a worker reads',
      }),
    ),
  )
  return workers.map((worker) => ({
    ...worker,
    troubles: async () => {
      const health = /"health":"([^"]+)"/.exec(worker.stdout())?.[1]
      const metrics = await (await fetch(`${health}/metrics`)).text()
      return Number(/^stepwell_worker_troubles_total (\d+)/m.exec(metrics)?.[1])
    },
  }))
}

/** Starts one worker, as it is installed; it need not come up. */
export function spawnWorker(env: Readonly<Record<string, string>>): SpawnedProcess {
  return spawnProcess(new URL('../apps/worker/src/main.ts', import.meta.url), [], {
    STEPWELL_MIGRATE: 'off',
    STEPWELL_HEALTH_PORT: '0',
    STEPWELL_CHECKPOINT_S: '1',
    STEPWELL_STALE_S: '2',
    ...env,
  })
}

/** Ends workers with SIGTERM: they leave in order, and never complained of themselves. */
export async function endWorkers(workers: readonly SpawnedProcess[]): Promise<void> {
  const ends = await Promise.all(workers.map((worker) => worker.kill()))
  expect(ends).toEqual(workers.map(() => ({ code: 0, signal: null })))
  for (const worker of workers) {
    expect(worker.stderr()).toBe('')
    expect(worker.stdout()).not.toMatch(/unhandled|CROSSSLOT|Dangling/i)
  }
}

/** Records runs of three steps until `until` settles, `count` at least: half of them at once, half open for a while. Gives their ids. */
export async function produce(
  tracer: ExecutionTracer,
  skill: string,
  count: number,
  until: Promise<unknown> = Promise.resolve(),
): Promise<string[]> {
  let isOver = false
  const over = until.finally(() => {
    isOver = true
  })
  const ids: string[] = []
  const open: Promise<void>[] = []
  for (let i = 0; i < count || !isOver; i++) {
    tracer.trace(skill, (trace) => {
      ids.push(trace.traceId)
      for (const step of ['a', 'b', 'c']) trace.recordStep(step, 1)
    })
    open.push(
      tracer.trace(skill, { executionId: `${skill}-${i}` }, async (trace) => {
        ids.push(trace.traceId)
        trace.recordStep('a', 1)
        await trace.step('b', () => after(150))
        trace.recordStep('c', 1)
      }),
    )
    await after(5)
  }
  await Promise.all([...open, over])
  return ids
}

/** Waits until exactly these traces are stored, each once and whole. */
export async function expectStored(
  databaseUrl: string,
  skill: string,
  ids: readonly string[],
): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const stored = async (): Promise<{ trace_id: string }[]> =>
      (
        await client.query(
          `select trace_id from execution_traces where skill_name = $1 and status = 'success' and step_count = 3 and missing_steps = 0`,
          [skill],
        )
      ).rows
    await waitFor(async () => (await stored()).length >= ids.length, {
      what: `all traces of ${skill} are stored`,
    })
    expect((await stored()).map((row) => row.trace_id).sort()).toEqual([...ids].sort())
    expect((await client.query('select reason from execution_dead_letters')).rows).toEqual([])
  } finally {
    await client.end()
  }
}
