import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { migrateToLatest } from '@stepwell/storage'
import {
  type FaultProxy,
  faultProxy,
  type PrivateServer,
  type SpawnedProcess,
  spawnProcess,
  startPostgres,
} from '@stepwell/testkit'
import { type FaultBench, type FaultWorker, openFaultBench } from '../faults/fault-bench.ts'
import { seededRandom } from '../faults/seeded-random.ts'
import { type Journal, readJournal } from './journal.ts'
import { type MemoryUse, MemoryWatch } from './memory-watch.ts'
import { type DoneFault, doFaults, type Fault } from './random-faults.ts'
import { judge, type Verdict } from './verdict.ts'

/** How a soak is made. */
export interface SoakOptions {
  minutes: number
  seed: number
  producers: number
  workers: number
  /** Of all producers together. */
  runsPerSecond: number
  /** Told what happens while it runs. */
  say(line: string): void
}

/** What a soak came to. */
export interface SoakResult extends Verdict {
  faults: DoneFault[]
  memory: MemoryUse[]
}

/** Quiet at the end, for what the last fault left to be made good. */
const QUIET_MS = 10_000
/** A producer that is killed leaves runs open: the shortest silence that counts as death. */
const SILENCE_S = '15'
const ACCOUNT_TIMEOUT_MS = 120_000

/** One run of all: servers, processes, faults, account. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  await using postgres = await startPostgres({ durable: true })
  await migrateToLatest({ connectionString: postgres.url })
  await using bench = await openFaultBench({ redis: { appendonly: true }, database: postgres.url })
  await using producers = await faultProxy(bench.server.url)
  await using workers = await faultProxy(bench.server.url)
  await using database = await faultProxy(postgres.url)
  const folder = mkdtempSync(join(tmpdir(), 'stepwell-soak-'))
  try {
    return await new Soak(options, {
      bench,
      postgres,
      proxies: { producers, workers, database },
      folder,
    }).run()
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What a soak runs on. */
interface Ground {
  bench: FaultBench
  postgres: PrivateServer
  /** Between producers and Redis, workers and Redis, workers and Postgres. */
  proxies: { producers: FaultProxy; workers: FaultProxy; database: FaultProxy }
  /** For the journals of producers. */
  folder: string
}

class Soak {
  readonly #options: SoakOptions
  readonly #ground: Ground
  readonly #memory = new MemoryWatch()
  /** In the order of their starts; the first of each kind is never killed: its memory tells of leaks. */
  #producers: SpawnedProcess[] = []
  #workers: FaultWorker[] = []
  readonly #journals: string[] = []
  readonly #complaints: string[] = []

  constructor(options: SoakOptions, ground: Ground) {
    this.#options = options
    this.#ground = ground
  }

  async run(): Promise<SoakResult> {
    const { minutes, seed, producers, workers, say } = this.#options
    const { bench } = this.#ground
    this.#memory.told('Redis (its data)', async () =>
      Number(/used_memory:(\d+)/.exec(await bench.redis.info('memory'))?.[1]),
    )
    for (let i = 0; i < workers; i++) await this.#startWorker()
    for (let i = 0; i < producers; i++) this.#startProducer()
    const health = setInterval(() => void this.#askHealth(), 1_000)
    const untilMs = Date.now() + minutes * 60_000
    const faults = await doFaults(this.#faults(), seededRandom(seed), untilMs - QUIET_MS, (fault) =>
      say(`${fault.name}, ${((fault.toMs - fault.fromMs) / 1_000).toFixed(1)} s`),
    )
    await after(Math.max(0, untilMs - Date.now()))
    say('producers end, what is left is worked off')
    clearInterval(health)
    const counters = await Promise.all(this.#producers.map((producer) => this.#end(producer)))
    const memory = await this.#memory.stop()
    const journal: Journal = { begun: new Map(), accepted: new Set() }
    for (const file of this.#journals) readJournal(file, journal)
    const verdict = await judge(bench, journal, counters, faults, ACCOUNT_TIMEOUT_MS)
    verdict.account.complaints.push(...this.#complaints)
    return { ...verdict, faults, memory }
  }

  #faults(): Record<string, Fault> {
    const { bench, postgres } = this.#ground
    const proxies = Object.values(this.#ground.proxies)
    const anyButFirst = <T>(all: readonly T[], share: number): T | undefined =>
      all[1 + Math.floor(share * (all.length - 1))]
    return {
      'worker killed -9': async (share) => {
        const victim = anyButFirst(this.#workers, share)
        if (victim === undefined) return
        this.#workers = this.#workers.filter((worker) => worker !== victim)
        await victim.kill('SIGKILL')
        await this.#startWorker()
      },
      'producer killed -9': async (share) => {
        const victim = anyButFirst(this.#producers, share)
        if (victim === undefined) return
        this.#producers = this.#producers.filter((producer) => producer !== victim)
        await victim.kill('SIGKILL')
        this.#complain(victim)
        this.#startProducer()
      },
      'Redis paused': async (share) => {
        bench.server.pause()
        await after(500 + share * 4_500)
        bench.server.resume()
      },
      'connections cut': async (share) => proxies[Math.floor(share * proxies.length)]?.cut(),
      'Postgres restarted': async (share) => {
        if (share < 0.5) await postgres.kill()
        await postgres.restart()
      },
    }
  }

  async #startWorker(): Promise<void> {
    const { bench, proxies } = this.#ground
    const worker = await bench.startWorker({
      REDIS_URL: proxies.workers.url,
      DATABASE_URL: proxies.database.url,
      STEPWELL_SILENCE_S: SILENCE_S,
    })
    this.#workers.push(worker)
    this.#memory.process(`worker ${bench.workers.length}`, worker.pid)
  }

  #startProducer(): void {
    const { seed, runsPerSecond, producers } = this.#options
    const number = this.#journals.length + 1
    const journal = join(this.#ground.folder, `${number}.journal`)
    this.#journals.push(journal)
    const child = spawnProcess(
      new URL('./soak-producer.ts', import.meta.url),
      [String(seed + number), String(runsPerSecond / producers), journal],
      { REDIS_URL: this.#ground.proxies.producers.url },
    )
    this.#producers.push(child)
    this.#memory.process(`producer ${number}`, child.pid)
  }

  async #end(producer: SpawnedProcess): Promise<string> {
    const { code } = await producer.kill('SIGTERM')
    if (code !== 0) this.#complaints.push(`a producer ended with ${code}`)
    this.#complain(producer)
    return producer.stdout()
  }

  #complain(producer: SpawnedProcess): void {
    // That Redis does not answer is told; anything else is not meant to be there.
    const stderr = producer.stderr().replace(/^.*(StepwellWarning|--trace-warnings).*\n/gm, '')
    if (stderr !== '') this.#complaints.push(stderr.slice(0, 500))
  }

  /** A worker that runs is alive, whatever happens around it. */
  async #askHealth(): Promise<void> {
    for (const worker of this.#workers) {
      const status = await worker.health('/live').catch(() => undefined)
      if (status !== undefined && status !== 200 && this.#workers.includes(worker))
        this.#complaints.push(`a worker says ${status} at /live`)
    }
  }
}
