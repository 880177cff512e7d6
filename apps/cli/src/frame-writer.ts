import {
  type Delta,
  encodeFrame,
  FRAME_MAX_BYTES,
  GROUP,
  newProducerId,
  openName,
  replyFields,
  type StepTuple,
  shardKeys,
  shardOf,
} from '@stepwell/protocol'
import { startOf } from '@stepwell/protocol/schema'
import type { RedisLike } from './connections.ts'
import { Failure } from './errors.ts'

const FRAME_MAX_DELTAS = 256
/** Most text of steps in one delta; with its other parts, and in UTF-8, it stays far below what a worker takes. */
const PART_MAX_LENGTH = FRAME_MAX_BYTES
/** UTF-16 units in Redis that no worker is done with yet: bounds what an import puts there at once, but for one frame. */
const WINDOW_SIZE = 64 * FRAME_MAX_BYTES
const POLL_MS = 20
const HINT_AFTER_MS = 5_000

interface Batch {
  stream: string
  texts: string[]
  size: number
}

/**
 * Writes deltas as a producer does, in frames, and sees to it that workers store them: at most 16 MiB wait in Redis, then it
 * waits for the workers. Written → in Redis → acked by a worker: stored, or among the dead letters of `producer`.
 */
export class FrameWriter {
  /** The producer of all frames. */
  readonly producer = newProducerId()
  readonly #redis: RedisLike
  readonly #namespace: string
  readonly #shards: number
  readonly #timeoutMs: number
  readonly #onWait: (hint: string) => void
  readonly #batches = new Map<number, Batch>()
  /** Frames on their way, oldest first. */
  #waiting: { stream: string; id: string; size: number }[] = []
  #waitingSize = 0
  /** Traces that stay open: names by their shards' due index. */
  #open: [due: string, name: string][] = []
  #frames = 0
  #emitted = 0
  #acked = 0

  /** `timeoutMs`: how long no worker may take anything until it gives up. `onWait`: told, once, when it takes long. */
  constructor(
    redis: RedisLike,
    options: { namespace: string; shards: number; timeoutMs: number; onWait: (hint: string) => void },
  ) {
    this.#redis = redis
    this.#namespace = options.namespace
    this.#shards = options.shards
    this.#timeoutMs = options.timeoutMs
    this.#onWait = options.onWait
  }

  /** Adds a delta, a long one in parts; resolves when there is room for more. Rejects with Failure where no worker takes anything. */
  async write(delta: Delta): Promise<void> {
    const parts = partsOf(delta)
    for (const part of parts) await this.#write(part)
    // A worker takes a part alone for a run that goes on.
    if (parts.length > 1 || delta.e === undefined)
      this.#open.push([
        shardKeys(this.#namespace, shardOf(delta.t, this.#shards)).due,
        openName(delta.t, startOf(delta) ?? 0),
      ])
  }

  async #write(delta: Delta): Promise<void> {
    const shard = shardOf(delta.t, this.#shards)
    const keys = shardKeys(this.#namespace, shard)
    let batch = this.#batches.get(shard)
    if (batch === undefined) {
      batch = { stream: keys.events, texts: [], size: 0 }
      this.#batches.set(shard, batch)
    }
    const text = JSON.stringify(delta)
    if (batch.size + text.length > FRAME_MAX_BYTES && batch.texts.length > 0) await this.#send(batch)
    batch.texts.push(text)
    batch.size += text.length
    this.#emitted += Number(delta.b ?? 0) + (delta.s?.length ?? 0) + Number(delta.e !== undefined)
    if (batch.texts.length >= FRAME_MAX_DELTAS || batch.size >= FRAME_MAX_BYTES) await this.#send(batch)
  }

  /** Sends what is left; resolves when workers are done with everything. Rejects with Failure where they are not. */
  async finish(): Promise<void> {
    for (const batch of this.#batches.values()) if (batch.texts.length > 0) await this.#send(batch)
    await this.#untilWaiting(0)
    // What stays open was acked when it was in the open state; it leaves that when it is stored.
    while (this.#open.length > 0) {
      const some = this.#open.slice(-1_000)
      await this.#until(async () => {
        const scores = await Promise.all(some.map(([due, name]) => this.#redis.zscore(due, name)))
        return scores.every((score) => score === null)
      })
      this.#open.length -= some.length
    }
  }

  async #send(batch: Batch): Promise<void> {
    const { texts, size } = batch
    batch.texts = []
    batch.size = 0
    await this.#untilWaiting(WINDOW_SIZE - size)
    this.#frames += 1
    const fields = encodeFrame({
      producer: this.producer,
      number: this.#frames,
      deltaCount: texts.length,
      counters: { emitted: this.#emitted, acked: this.#acked, dropped: {} },
      deltas: `[${texts.join(',')}]`,
    })
    let id: string | null = null
    // Full Redis: workers store directly then, and make room.
    await this.#until(async () => {
      try {
        id = await this.#redis.xadd(batch.stream, '*', ...fields)
        return true
      } catch (error) {
        if ((error as Error).message.startsWith('OOM')) return false
        throw error
      }
    })
    this.#acked = this.#emitted
    this.#waiting.push({ stream: batch.stream, id: String(id), size })
    this.#waitingSize += size
  }

  async #untilWaiting(most: number): Promise<void> {
    for (
      let first = this.#waiting[0];
      first !== undefined && this.#waitingSize > most;
      first = this.#waiting[0]
    ) {
      const { stream, id, size } = first
      await this.#until(() => this.#isDone(stream, id))
      this.#waiting.shift()
      this.#waitingSize -= size
    }
  }

  /** Whether the group has had this entry, and nobody has it in hand any more. */
  async #isDone(stream: string, id: string): Promise<boolean> {
    const groups = (await this.#redis.xinfo('GROUPS', stream).catch(() => [])) as unknown[]
    const group = groups.map(replyFields).find((fields) => fields.get('name') === GROUP)
    if (group === undefined) return false
    const delivered = String(group.get('last-delivered-id'))
    if (compareEntryIds(delivered, id) < 0) return false
    return ((await this.#redis.xpending(stream, GROUP, id, id, 1)) as unknown[]).length === 0
  }

  async #until(isSo: () => Promise<boolean>): Promise<void> {
    const startMs = performance.now()
    let hasHinted = false
    while (!(await isSo())) {
      const waitedMs = performance.now() - startMs
      if (waitedMs > this.#timeoutMs) {
        throw new Failure(
          `No worker has stored anything for ${Math.round(waitedMs / 1_000)} s. What was sent is in Redis, and is stored when one runs: stepwell-worker`,
        )
      }
      if (!hasHinted && waitedMs > HINT_AFTER_MS) {
        hasHinted = true
        this.#onWait('waiting for a worker to store what was sent: is stepwell-worker running?')
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }
}

/** The delta, where it is too long for a frame as several: the first with the beginning, the last with the end, each with some steps. */
function partsOf(delta: Delta): Delta[] {
  const groups: StepTuple[][] = [[]]
  let size = 0
  for (const step of delta.s ?? []) {
    const length = JSON.stringify(step).length
    if (size > 0 && size + length > PART_MAX_LENGTH) {
      groups.push([])
      size = 0
    }
    groups.at(-1)?.push(step)
    size += length
  }
  if (groups.length === 1) return [delta]
  const { e, s: _, ...beginning } = delta
  const { t, at, k, n } = delta
  const middle = { t, k, n, ...(at === undefined ? {} : { at }) } as Delta
  return groups.map((s, i) => ({
    ...(i === 0 ? beginning : middle),
    s,
    ...(i === groups.length - 1 && e !== undefined ? { e } : {}),
  }))
}

/** The order of stream entry ids, `<ms>-<n>`. */
function compareEntryIds(a: string, b: string): number {
  const [aMs = 0, aN = 0] = a.split('-').map(Number)
  const [bMs = 0, bN = 0] = b.split('-').map(Number)
  return aMs - bMs || aN - bN
}
