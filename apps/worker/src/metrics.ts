import { Counter, Gauge, Registry } from 'prom-client'

/** What a worker counts. The names say area, noun and verb. */
export interface Metrics {
  registry: Registry
  entriesRead: Counter
  deltasRead: Counter
  entriesReclaimed: Counter
  entriesAcked: Counter<'outcome'>
  tracesStored: Counter<'path'>
  lettersWritten: Counter
  troubles: Counter
  databaseAvailable: Gauge
  lag: Gauge<'shard'>
  pending: Gauge<'shard'>
  inHand: Gauge<'shard'>
}

/** Makes the metrics of one worker, in a registry of its own: several workers can live in one process. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
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
    lettersWritten: counter('stepwell_dead_letters_written_total', 'Dead letters committed'),
    troubles: counter(
      'stepwell_worker_troubles_total',
      'Failures outside of this worker that it is working around',
    ),
    databaseAvailable,
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
  }
}
