import { GROUP } from '@stepwell/protocol'
import { type BoundedConnection, ReplyTooLargeError } from './bounded-connection.ts'
import type { Collector } from './collector.ts'
import { type Entry, type EntryBytes, entryOf } from './entry.ts'
import { ensureGroup } from './group.ts'
import type { Intake } from './intake.ts'
import { backoffMs, delay, type OutageGate } from './outage.ts'
import { redisCode } from './script.ts'
import type { Shard } from './shard.ts'
import { StoppedError } from './store.ts'

/** Entries a read, at most, and how much they may be together, by the size of those before: frames are up to 256 KiB. */
const READ_COUNT = 64
const READ_MAX_SIZE = 1 << 20
const BLOCK_MS = 1_000

/**
 * Reads one shard, on a connection of its own: a blocked read holds back every other command of its connection.
 * Reading → taking (decode, fold, batch) → reading; while what was read is folded the next is read already, for Redis and this process
 * would else wait for each other. It waits while the database is away or the write batch is full, so that what is unread stays in Redis.
 */
export class Reader {
  readonly #shard: Shard
  readonly #connection: BoundedConnection
  readonly #consumer: string
  readonly #intake: Intake
  readonly #collector: Collector
  readonly #gate: OutageGate
  readonly #stop: AbortSignal
  readonly #onTrouble: (error: unknown) => void
  /** Average of the last read, in bytes. */
  #entrySize = READ_MAX_SIZE / READ_COUNT

  constructor(options: {
    shard: Shard
    connection: BoundedConnection
    consumer: string
    intake: Intake
    collector: Collector
    gate: OutageGate
    stop: AbortSignal
    onTrouble: (error: unknown) => void
  }) {
    this.#shard = options.shard
    this.#connection = options.connection
    this.#consumer = options.consumer
    this.#intake = options.intake
    this.#collector = options.collector
    this.#gate = options.gate
    this.#stop = options.stop
    this.#onTrouble = options.onTrouble
  }

  /** Reads until the stop signal, and until what was read by then is folded or in the write batch. */
  async run(): Promise<void> {
    let taken = Promise.resolve()
    for (let attempt = 0; !this.#stop.aborted; ) {
      await this.#gate.opened(this.#stop)
      await this.#collector.room()
      if (this.#stop.aborted) break
      try {
        const entries = await this.#read()
        await taken
        if (entries.length > 0) {
          this.#entrySize = entries.reduce((sum, entry) => sum + sizeOf(entry), 0) / entries.length
          taken = this.#intake.take(this.#shard, entries)
          // It is waited for after the next read.
          taken.catch(() => {})
        }
        attempt = 0
      } catch (error) {
        if (error instanceof StoppedError || this.#stop.aborted) break
        // Redis came back empty: begin again.
        if (redisCode(error) === 'NOGROUP')
          await ensureGroup(this.#connection.redis, this.#shard).catch(this.#onTrouble)
        else this.#onTrouble(error)
        // They are pending now, and taken over like those of a worker that is gone, one by one. What follows may be as large.
        if (error instanceof ReplyTooLargeError) this.#entrySize = READ_MAX_SIZE
        await delay(backoffMs(attempt++), this.#stop)
      }
    }
    // Both reject only because the worker stops.
    await taken.catch(() => {})
    await this.#intake.release(this.#shard, true).catch(() => {})
  }

  async #read(): Promise<Entry[]> {
    const stream = this.#shard.keys.events
    const count = Math.max(1, Math.min(READ_COUNT, Math.floor(READ_MAX_SIZE / this.#entrySize)))
    const who = ['GROUP', GROUP, this.#consumer] as const
    const reply = await this.#connection.read((redis) =>
      redis.xreadgroupBuffer(...who, 'COUNT', count, 'BLOCK', BLOCK_MS, 'STREAMS', stream, '>'),
    )
    const [[, entries] = []] = (reply ?? []) as [stream: Buffer, entries: EntryBytes[]][]
    return (entries ?? []).map(entryOf)
  }
}

const sizeOf = ([, fields]: Entry): number => (fields ?? []).reduce((sum, field) => sum + field.length, 1)
