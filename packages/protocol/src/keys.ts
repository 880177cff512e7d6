import type { Delta, Said } from './delta.ts'
import { traceIdStart } from './ids.ts'
import type { OpenRecord } from './open-records.ts'

/** The consumer group that workers read the streams through. */
export const GROUP = 'stepwell'
/** Seconds that a correlation key lives after it was last written: one hour (the specification's). */
export const CORRELATION_TTL_S = 3600

/** The Redis keys of one shard. All carry the shard's hash tag, so a script that uses several stays in one slot of a cluster. */
export interface ShardKeys {
  /** Stream of frames. */
  events: string
  /** Sorted set: open trace → when a worker should look at it next (milliseconds, Redis TIME). */
  due: string
  /** Sorted set: producer → milliseconds of its latest frame, by the stream's entry ids. */
  producers: string
  /** Hash of counters: entries acked as stored, entries acked as dead. */
  counts: string
  /** Hash: producer → what it has counted, as its latest frame told. */
  told: string
  /** Text of one open trace: a line for each delta (`openRecords`). */
  open(trace: string): string
  /** Set of the open traces that a producer has spoken of. */
  openBy(producer: string): string
}

/** What the keys of a shard are, as the command TYPE says it. */
export const SHARD_KEY_TYPES = {
  events: 'stream',
  due: 'zset',
  producers: 'zset',
  counts: 'hash',
  told: 'hash',
} as const satisfies Partial<Record<keyof ShardKeys, string>>

/** Names of the keys of shard `index` under `namespace` (default there: `stepwell`). */
export function shardKeys(namespace: string, index: number): ShardKeys {
  const prefix = `${namespace}:{${index}}:`
  return {
    events: `${prefix}events`,
    due: `${prefix}due`,
    producers: `${prefix}producers`,
    counts: `${prefix}counts`,
    told: `${prefix}told`,
    open: (trace) => `${prefix}open:${trace}`,
    openBy: (producer) => `${prefix}open-by:${producer}`,
  }
}

/** The producer in the field of an open trace's record. */
export const producerOfField = (field: string): string => field.slice(0, field.indexOf(':'))

/** The name of a trace in the open state: its id; of ids that do not tell the start, `<id>@<start>`. */
export const openName = (traceId: string, startedAtMs: number): string =>
  traceIdStart(traceId) === undefined ? `${traceId}@${startedAtMs}` : traceId

/** `{"t":"<36 characters>",` */
const ID_PART_LENGTH = 44

/** A delta as the text of its record: without the trace id, which the name of the key tells. */
export function recordOfDelta(delta: Delta): string {
  const text = JSON.stringify(delta)
  return text.startsWith('{"t":"') ? `{${text.slice(ID_PART_LENGTH)}` : text
}

/** What a record of an open trace says, and who. Throws SyntaxError for what is no JSON. */
export function saidOfRecord(trace: string, { field, text }: OpenRecord): Said {
  const delta = JSON.parse(text) as Delta
  delta.t ??= trace.slice(0, 36)
  return { producer: delta.k === undefined ? producerOfField(field) : '', delta }
}

/** The namespace of keys unless another is chosen. */
export const DEFAULT_NAMESPACE = 'stepwell'
/** What a namespace may look like: it becomes part of key names, outside of any hash tag. */
export const NAMESPACE = /^[A-Za-z0-9_.:-]{1,64}$/

/**
 * Redis key of the correlation execution id → trace id: exactly as the specification names it in the default namespace,
 * behind the namespace in any other.
 */
export const correlationKey = (executionId: string, namespace: string = DEFAULT_NAMESPACE): string =>
  namespace === DEFAULT_NAMESPACE
    ? `trace_context:${executionId}`
    : `${namespace}:trace_context:${executionId}`

/** The shard of a trace: FNV-1a (32 bit, http://www.isthe.com/chongo/tech/comp/fnv/) over the id's ASCII bytes, modulo `shards`. */
export function shardOf(traceId: string, shards: number): number {
  if (shards === 1) return 0
  let hash = 0x811c9dc5
  for (let i = 0; i < traceId.length; i++) hash = Math.imul(hash ^ traceId.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % shards
}
