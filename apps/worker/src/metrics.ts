import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Equations } from './equations.ts'
import type { LetterCounts } from './letter-box.ts'

/** What a worker counts. The names say area, noun and verb. */
export interface Metrics {
  registry: Registry
  entriesRead: Counter
  deltasRead: Counter
  entriesReclaimed: Counter
  entriesAcked: Counter<'outcome'>
  tracesStored: Counter<'path'>
  retentionTraces: Counter<'action'>
  retentionBytes: Counter<'action'>
  lettersWritten: Counter
  letters: Gauge
  lettersNotKept: Gauge<'reason' | 'why'>
  troubles: Counter
  databaseAvailable: Gauge
  redisFull: Gauge<'shard'>
  lag: Gauge<'shard'>
  pending: Gauge<'shard'>
  inHand: Gauge<'shard'>
  entries: Gauge<'shard' | 'state'>
  entriesUnaccounted: Gauge<'shard'>
  producers: Gauge
  producerEvents: Gauge<'state'>
  producerEventsDropped: Gauge<'reason'>
}

/** Puts the equations into the metrics. What Redis does not tell is not there. */
export function setEquations(metrics: Metrics, { entries, producers }: Equations): void {
  metrics.entries.reset()
  metrics.entriesUnaccounted.reset()
  for (const [shard, equation] of entries.entries()) {
    if (equation === undefined) continue
    const { unaccounted, ...states } = equation
    metrics.entriesUnaccounted.set({ shard }, unaccounted)
    for (const [state, count] of Object.entries(states)) metrics.entries.set({ shard, state }, count)
  }
  const { emitted, acked, held, dropped } = producers
  metrics.producers.set(producers.producers)
  for (const [state, count] of Object.entries({ emitted, acked, held }))
    metrics.producerEvents.set({ state }, count)
  metrics.producerEventsDropped.reset()
  for (const [reason, count] of Object.entries(dropped)) metrics.producerEventsDropped.set({ reason }, count)
}

/** Puts the state of the dead letters into the metrics. */
export function setDeadLetters(metrics: Metrics, { letters, notKept }: LetterCounts): void {
  metrics.letters.set(letters)
  metrics.lettersNotKept.reset()
  for (const { reason, noRoom, tooOld } of notKept) {
    if (noRoom > 0) metrics.lettersNotKept.set({ reason, why: 'no_room' }, noRoom)
    if (tooOld > 0) metrics.lettersNotKept.set({ reason, why: 'too_old' }, tooOld)
  }
}

/** Makes the metrics of one worker, in a registry of its own: several workers can live in one process. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  // Memory, CPU, event loop: named as every Prometheus client names them.
  collectDefaultMetrics({ register: registry })
  const counter = (name: string, help: string): Counter => new Counter({ name, help, registers })
  const databaseAvailable = new Gauge({
    name: 'stepwell_database_available',
    help: '1 while Postgres takes rows',
    registers,
  })
  databaseAvailable.set(1)
  return {
    registry,
    entriesRead: counter(
      'stepwell_stream_entries_read_total',
      'Stream entries taken in hand, redeliveries included',
    ),
    deltasRead: counter('stepwell_stream_deltas_read_total', 'Trace deltas in those entries'),
    entriesReclaimed: counter(
      'stepwell_stream_entries_reclaimed_total',
      'Stream entries taken over from workers that are gone',
    ),
    entriesAcked: new Counter({
      name: 'stepwell_stream_entries_acked_total',
      help: 'Stream entries acked, by what became of them, as counted by XACK itself',
      labelNames: ['outcome'],
      registers,
    }),
    tracesStored: new Counter({
      name: 'stepwell_traces_stored_total',
      help: 'Trace writes committed: whole from the stream, or from the open state (checkpoints included)',
      labelNames: ['path'],
      registers,
    }),
    retentionTraces: new Counter({
      name: 'stepwell_retention_traces_removed_total',
      help: 'Traces that this worker has removed by retention: of months rewritten, exactly; of months dropped, about',
      labelNames: ['action'],
      registers,
    }),
    retentionBytes: new Counter({
      name: 'stepwell_retention_bytes_freed_total',
      help: 'Bytes that those months take less, with their indexes',
      labelNames: ['action'],
      registers,
    }),
    lettersWritten: counter(
      'stepwell_dead_letters_written_total',
      'Dead letters that this worker has committed',
    ),
    letters: new Gauge({ name: 'stepwell_dead_letters', help: 'Dead letters in Postgres', registers }),
    lettersNotKept: new Gauge({
      name: 'stepwell_dead_letters_not_kept',
      help: 'Dead letters counted only, by all workers: there was no room for them, or they became too old',
      labelNames: ['reason', 'why'],
      registers,
    }),
    troubles: counter(
      'stepwell_worker_troubles_total',
      'Failures outside of this worker that it is working around',
    ),
    databaseAvailable,
    redisFull: new Gauge({
      name: 'stepwell_redis_full',
      help: '1 while Redis is full, or nearly: the stream keeps only what is not dealt with',
      labelNames: ['shard'],
      registers,
    }),
    lag: new Gauge({
      name: 'stepwell_stream_lag',
      help: 'Entries not read by any worker yet',
      labelNames: ['shard'],
      registers,
    }),
    pending: new Gauge({
      name: 'stepwell_stream_pending',
      help: 'Entries read by some worker and not acked yet',
      labelNames: ['shard'],
      registers,
    }),
    inHand: new Gauge({
      name: 'stepwell_worker_entries_in_hand',
      help: 'Entries that this worker holds',
      labelNames: ['shard'],
      registers,
    }),
    entries: new Gauge({
      name: 'stepwell_stream_entries',
      help: 'What became of the entries of a stream: added = stored + dead + pending + unread',
      labelNames: ['shard', 'state'],
      registers,
    }),
    entriesUnaccounted: new Gauge({
      name: 'stepwell_stream_entries_unaccounted',
      help: 'Entries added, less those stored, dead, pending and unread: not 0 where somebody else acks or deletes entries',
      labelNames: ['shard'],
      registers,
    }),
    producers: new Gauge({
      name: 'stepwell_producers',
      help: 'Producers heard of in the last hour',
      registers,
    }),
    producerEvents: new Gauge({
      name: 'stepwell_producer_events',
      help: 'What those producers have counted: emitted = acked + dropped + held',
      labelNames: ['state'],
      registers,
    }),
    producerEventsDropped: new Gauge({
      name: 'stepwell_producer_events_dropped',
      help: 'Events that those producers have given up',
      labelNames: ['reason'],
      registers,
    }),
  }
}
