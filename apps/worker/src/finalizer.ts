import {
  derive,
  type OpenRecord,
  openRecord,
  producerOfField,
  recordOfDelta,
  type Said,
  type TraceState,
  traceIdStart,
} from '@stepwell/protocol'
import type { TraceDeltas } from '@stepwell/storage'
import type { Correlation } from './correlation.ts'
import { watermarkMs } from './group.ts'
import { headsOf, producersAtWork } from './heads.ts'
import {
  forget,
  type Leased,
  lease,
  postpone,
  type Replaced,
  replace,
  type Settled,
  settle,
} from './open-state.ts'
import { ownText, readOpenText } from './open-text.ts'
import { backoffMs, delay } from './outage.ts'
import { type RedisLike, redisCode, wrongType } from './script.ts'
import { type Shard, wouldHaveHeard } from './shard.ts'
import { StoppedError, type Store } from './store.ts'
import { timeoutOf } from './timeout.ts'

const LEASE_COUNT = 256
/** Deltas and rows loaded before they are written, in UTF-16 units, about: bounds memory at that plus one trace. */
const LOAD_MAX_SIZE = 8 << 20
/** What a step takes in a row, about. */
const STEP_SIZE = 64
/** Of an open trace with more than this in Redis a checkpoint leaves only heads there. */
const COMPACT_SIZE = 64 << 10
/** The longest wait between two looks at the index: another worker's fold does not wake this one. */
const IDLE_MAX_MS = 250
/** An ended trace with parts missing stays in the index: they are often just behind, in another worker's hands. */
const LINGER_MS = 1_000
/** How long a trace rests that is held up, by a lock or for want of its month, while others are stored. */
const REST_MS = 3_000
/** The longest time between checkpoints of one trace; far below the life of its correlation key. */
const CHECKPOINT_MAX_MS = 600_000

/** A leased trace with its deltas, each under the field of its record. */
export interface OpenTrace extends TraceDeltas {
  shard: Shard
  fields: string[]
}

interface Loaded extends OpenTrace {
  leased: Leased
  /** What its deltas were read from. */
  read: string | Buffer
  /** Of that, in UTF-16 units. */
  size: number
  /** The owner's beginning is among the deltas. */
  begun: boolean
  ended: boolean
}

/**
 * Stores open traces of one shard when they are due. Leased → loaded → (a silent or overdue one gets its timeout) →
 * stored, with whatever row is there → settled if it has ended, else postponed to its next checkpoint; one that is
 * held up, by a lock or for want of its month, is postponed as it is.
 * Any number of workers do this at once; a lease keeps them apart, the compare-and-set makes it safe when it does not.
 */
export class Finalizer {
  readonly #shard: Shard
  readonly #redis: RedisLike
  readonly #store: Store
  readonly #correlation: Correlation
  readonly #stop: AbortSignal
  readonly #options: { checkpointMs: number; silenceMs: number; leaseMs: number }
  readonly #onStored: (traces: number) => void
  readonly #onRefused: (trace: OpenTrace, error: Error) => Promise<void>
  readonly #onForeign: (shard: Shard, records: readonly OpenRecord[]) => Promise<void>
  readonly #onTrouble: (error: unknown) => void
  #wake: (() => void) | undefined
  #poked = false

  constructor(options: {
    shard: Shard
    redis: RedisLike
    store: Store
    correlation: Correlation
    stop: AbortSignal
    checkpointMs: number
    silenceMs: number
    /** How long a due trace is ours. A write that takes longer is done twice, which is harmless. */
    leaseMs: number
    onStored: (traces: number) => void
    /** Puts the deltas of a trace that the database refuses to the dead letters; resolves after the commit. */
    onRefused: (trace: OpenTrace, error: Error) => Promise<void>
    /** Puts what others wrote into the open state to the dead letters; resolves after the commit. */
    onForeign: (shard: Shard, records: readonly OpenRecord[]) => Promise<void>
    onTrouble: (error: unknown) => void
  }) {
    this.#shard = options.shard
    this.#redis = options.redis
    this.#store = options.store
    this.#correlation = options.correlation
    this.#stop = options.stop
    const { checkpointMs, silenceMs, leaseMs } = options
    this.#options = { checkpointMs, silenceMs, leaseMs }
    this.#onStored = options.onStored
    this.#onRefused = options.onRefused
    this.#onForeign = options.onForeign
    this.#onTrouble = options.onTrouble
  }

  /** Something is due now. */
  poke(): void {
    this.#poked = true
    this.#wake?.()
  }

  /** Works until the stop signal; finishes the traces in work first. */
  async run(): Promise<void> {
    for (let attempt = 0; !this.#stop.aborted; ) {
      try {
        const waitMs = await this.#round()
        attempt = 0
        if (waitMs > 0) await this.#idle(waitMs)
      } catch (error) {
        if (error instanceof StoppedError) return
        this.#onTrouble(error)
        await delay(backoffMs(attempt++), this.#stop)
      }
    }
  }

  /** Deals with what is due; returns how long to wait for more. */
  async #round(): Promise<number> {
    this.#poked = false
    const { leased, nextInMs } = await lease(this.#redis, this.#shard, LEASE_COUNT, this.#options.leaseMs)
    if (leased.length === 0) return Math.max(1, Math.min(nextInMs ?? IDLE_MAX_MS, IDLE_MAX_MS))
    for await (const batch of this.#batches(leased)) await this.#finish(batch)
    return 0
  }

  /** The traces, loaded, as many at a time as memory should hold. */
  async *#batches(leased: readonly Leased[]): AsyncGenerator<Loaded[]> {
    let batch: Loaded[] = []
    let size = 0
    for (let from = 0, to = 0; from < leased.length; from = to) {
      for (let read = 0; to < leased.length; to++) {
        read += (leased[to] as Leased).size ?? 0
        if (read > LOAD_MAX_SIZE && to > from) break
      }
      const some = leased.slice(from, to)
      const texts = await this.#redis.mgetBuffer(some.map(({ trace }) => this.#shard.keys.open(trace)))
      for (const [i, item] of some.entries()) {
        const trace = await this.#load(item, texts[i] ?? undefined)
        if (trace === undefined) continue
        if (batch.length > 0 && size + sizeOf(trace) > LOAD_MAX_SIZE) {
          yield batch
          batch = []
          size = 0
        }
        batch.push(trace)
        size += sizeOf(trace)
      }
    }
    if (batch.length > 0) yield batch
  }

  async #load(leased: Leased, bytes: Buffer | undefined): Promise<Loaded | undefined> {
    const { trace } = leased
    const shard = this.#shard
    if (leased.size === undefined) {
      this.#onTrouble(wrongType(shard.keys.open(trace)))
      await forget(this.#redis, shard, trace)
      return undefined
    }
    const open = bytes && readOpenText(trace, bytes)
    if (open === undefined || open.fields.length === 0) {
      // Settled by another worker after its lease had run out, or it lingered and nothing more has come; or nothing of it is ours.
      if (open !== undefined) await this.#onForeign(shard, open.foreign)
      await settle(this.#redis, shard, [{ trace, read: open?.read ?? '', fields: [], lingerMs: 0 }])
      return undefined
    }
    const { said, fields, foreign, size } = open
    let { read } = open
    if (foreign.length > 0) {
      await this.#onForeign(shard, foreign)
      const own = ownText(read.toString(), foreign)
      await replace(this.#redis, shard, { trace, read, by: own })
      read = own
    }
    const first = (said[0] as Said).delta
    const begun = said.some(({ delta }) => delta.b === 1)
    return {
      traceId: first.t,
      startedAtMs: traceIdStart(first.t) ?? Math.floor(first.at as number),
      said,
      // Its row is there if a checkpoint stored it, or if all that is left came after its end.
      known: !begun || Date.now() - (traceIdStart(first.t) ?? 0) > this.#options.checkpointMs,
      shard: this.#shard,
      leased,
      read,
      size,
      begun,
      fields,
      ended: said.some(({ delta }) => delta.e !== undefined),
    }
  }

  async #finish(traces: Loaded[]): Promise<void> {
    const running = traces.filter((trace) => !trace.ended)
    if (running.length > 0) await this.#addTimeouts(running)
    const { written, guilty, waiting } = await this.#store.write(traces)
    const byKey = new Map(written.map((item) => [`${item.traceId}@${item.startedAtMs}`, item]))
    const refused = new Map(guilty.map((item) => [item.trace, item.error]))
    const resting = new Set<TraceDeltas>(waiting)
    const settled: Settled[] = []
    const postponed: { leased: Leased; inMs: number }[] = []
    const large: Replaced[] = []
    const open = this.#correlation.collect()
    const over = new Map<string, string>()
    for (const trace of traces) {
      const { leased, fields, read } = trace
      if (resting.has(trace)) {
        postponed.push({ leased, inMs: REST_MS })
        continue
      }
      const state = byKey.get(`${trace.traceId}@${trace.startedAtMs}`)?.state
      if (state === undefined) {
        // Refused for what is in it: its deltas become dead letters and leave the open state.
        await this.#onRefused(trace, refused.get(trace) ?? new Error('not stored'))
        settled.push({ trace: leased.trace, read, fields, lingerMs: 0 })
        continue
      }
      // Of one that is held nothing more is to come: it stays running in Postgres.
      const isOver = state.end !== null || state.isHeld
      if (isOver) {
        const whole = trace.begun && derive(state).missingSteps === 0
        settled.push({ trace: leased.trace, read, fields, lingerMs: whole ? 0 : LINGER_MS })
      } else {
        postponed.push({ leased, inMs: this.#nextLookMs(state) })
        if (trace.size >= COMPACT_SIZE) large.push(compacted(trace, state))
      }
      if (state.executionId !== null) {
        if (isOver) over.set(state.executionId, state.traceId)
        else open.add(state.executionId, state.traceId)
      }
    }
    await Promise.all([
      settle(this.#redis, this.#shard, settled),
      postpone(this.#redis, this.#shard, postponed),
      ...large.map((trace) => replace(this.#redis, this.#shard, trace)),
      this.#correlation.stored(over),
      this.#correlation.set(open),
    ])
    this.#onStored(written.length)
  }

  /** Milliseconds until the next checkpoint of an open trace, doubling so that all of them cost about twice the last; or until its own limit. */
  #nextLookMs(state: TraceState): number {
    const ageMs = Date.now() - state.startedAtMs
    const untilLimitMs = state.limitMs === null ? Number.POSITIVE_INFINITY : state.limitMs - ageMs
    const nextMs = Math.min(Math.max(this.#options.checkpointMs, ageMs), CHECKPOINT_MAX_MS, untilLimitMs)
    return Math.max(1, nextMs)
  }

  async #addTimeouts(running: Loaded[]): Promise<void> {
    const producers = [...new Set(running.flatMap((trace) => trace.fields.map(producerOfField)))]
    const [nowMs, scores] = await Promise.all([
      watermarkMs(this.#redis, this.#shard),
      this.#lastHeard(producers),
    ])
    const { silenceMs } = this.#options
    const isListening = wouldHaveHeard(this.#shard, silenceMs, Date.now())
    // Who cannot be asked about is not silent.
    const heardMs = new Map(
      producers.map((p, i) => [p, scores === undefined ? nowMs : Number(scores[i] ?? 0)]),
    )
    for (const trace of running) {
      let lastHeardMs = 0
      for (const producer of producersAtWork(trace))
        lastHeardMs = Math.max(lastHeardMs, heardMs.get(producer) as number)
      const silentForMs = isListening && nowMs - lastHeardMs >= silenceMs ? silenceMs : undefined
      trace.amend = (state) => timeoutOf(state, silentForMs, nowMs)
    }
  }

  /** When Redis last heard of each, null for who is unknown; undefined where somebody else put something at our key. */
  async #lastHeard(producers: readonly string[]): Promise<(string | null)[] | undefined> {
    const key = this.#shard.keys.producers
    return this.#redis.zmscore(key, ...producers).catch((error: unknown) => {
      if (redisCode(error) !== 'WRONGTYPE') throw error
      this.#onTrouble(wrongType(key))
      return undefined
    })
  }

  async #idle(ms: number): Promise<void> {
    if (this.#poked) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#stop.removeEventListener('abort', done)
        this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.#wake = done
      this.#stop.addEventListener('abort', done, { once: true })
    })
  }
}

/** Of a large trace whose deltas are in its row: heads in the place of them. */
function compacted(trace: Loaded, state: TraceState): Replaced {
  const heads = headsOf(trace, state)
  const staying = new Set([...heads.keys()].map(producerOfField))
  const leaving = new Set(trace.fields.map(producerOfField).filter((producer) => !staying.has(producer)))
  const by = [...heads].map(([field, head]) => openRecord({ field, text: recordOfDelta(head) })).join('')
  return { trace: trace.leased.trace, read: trace.read, by, leaving }
}

/** What a trace takes in memory while it is written, with the row that may be there, in UTF-16 units. */
function sizeOf({ size, said }: Loaded): number {
  const steps = said.reduce((most, { delta }) => Math.max(most, delta.n[0]), 0)
  return size + steps * STEP_SIZE
}
