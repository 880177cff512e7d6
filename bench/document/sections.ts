import type { RunRecord } from '../run.ts'
import { type Reader, table } from './table.ts'

/** A part of the document: what was measured how, and the tables of one benchmark. */
export interface Section {
  /** The benchmark whose runs it shows; one with `--traces` is shown once for each number. */
  of: string
  title: string
  text: string
  tables(read: Reader, run: RunRecord): string[]
}

const CPU_PARTS = ['producer', 'redis', 'worker', 'postgres']

const ingestRows = (read: Reader, rows: Record<string, string>): string[][] =>
  Object.entries(rows).map(([name, label]) => [
    label,
    read.of(`${name}.events`),
    read.of(`${name}.traces`),
    read.of(`${name}.cpu`),
    ...CPU_PARTS.map((part) => read.of(`${name}.cpu_${part}`)),
  ])
const INGEST_HEAD = ['', 'events/s', 'traces/s', 'CPU', ...CPU_PARTS]

const SHAPES = {
  flat: '`recordStep`',
  flat_attributes: '`recordStep`, four attributes, metadata',
  nested: '`step(fn)`, nested',
  nested_attributes: '`step(fn)`, nested, four attributes, metadata',
}
const CLIENTS = {
  stepwell: 'Stepwell',
  otlp_json: 'OTLP JSON',
  otlp_protobuf: 'OTLP protobuf',
  stringify: 'JSON.stringify',
}

const clientTable = (read: Reader, metric: string): string =>
  table(
    ['', ...Object.values(CLIENTS)],
    Object.entries(SHAPES).map(([shape, label]) => [
      label,
      ...Object.keys(CLIENTS).map((who) => read.of(`client.${shape}.${who}.${metric}`)),
    ]),
  )

const percentiles = (read: Reader, name: string, shares: readonly string[]): string[] =>
  shares.map((share) => read.of(`${name}.${share}`))

/** All parts, in their order. */
export const SECTIONS: readonly Section[] = [
  {
    of: 'client',
    title: 'Client: CPU of a producer per step',
    text: 'Recording, encoding and sending until the other side has answered: Stepwell to a real Redis, the OpenTelemetry SDK (BatchSpanProcessor, OTLP over HTTP) to a local sink, the same fields, runs of 10 steps; and one `JSON.stringify` an event of the same fields. Each in a process of its own that stays warm, all CPU of the process counted.',
    tables: (read) => [
      `CPU in µs a step:\n\n${clientTable(read, 'cpu')}`,
      `Stepwell to the others:\n\n${table(
        ['', 'OTLP JSON', 'OTLP protobuf', 'JSON.stringify'],
        Object.entries(SHAPES).map(([shape, label]) => [
          label,
          ...['otlp_json', 'otlp_protobuf', 'stringify'].map((who) => read.of(`client.${shape}.to_${who}`)),
        ]),
      )}`,
      `Allocated on the heap, bytes a step:\n\n${clientTable(read, 'allocated')}`,
      `CPU is that of warm processes: before it was measured each ran the four shapes in turns, ten times 20,000 steps of each. The first turn of these, in processes that had just begun, in µs a step:\n\n${clientTable(read, 'first')}`,
    ],
  },
  {
    of: 'calls',
    title: 'Client: what the host feels',
    text: 'Single calls with 1 KiB of attributes, a prompt with a line break most of it, each timed by itself; `record_step_nested` has it in a list of messages; between them `nothing_as_long`, loops that only wait for the clock until the median of the first is over: what the machine takes away from any call of that length. Then how late timers of a millisecond are in a process that records 100,000 steps a second, against the same process with a disabled tracer; what a disabled tracer takes for a call.',
    tables: (read) => [
      table(
        ['µs', 'p50', 'p99', 'p99.9', 'max', 'over 20 µs'],
        ['record_step', 'record_step_nested', 'step', 'nothing_as_long'].map((call) => [
          call,
          ...percentiles(read, `calls.${call}`, ['p50', 'p99', 'p99.9', 'max']),
          read.with(`calls.${call}.over_20_us`),
        ]),
      ),
      table(
        ['timers late, p99', ''],
        ['untraced', 'traced', 'added'].map((kind) => [kind, read.with(`calls.timers_late.${kind}.p99`)]),
      ),
      table(
        ['disabled', ''],
        read.partsAfter('calls.disabled.').map((call) => [call, read.with(`calls.disabled.${call}`)]),
      ),
    ],
  },
  {
    of: 'ingest',
    title: 'Ingest: from the first event recorded to the last row committed',
    text: 'Two producer processes, Redis, one worker process and Postgres. A run of 10 steps is 12 events. The floor: the same rows from memory, sent by one process with nothing else running; `upsert` is what the worker sends, on as many connections. A step of an agent has a model, usage and a message of 120 letters with a line break and quotes. CPU in µs a trace.',
    tables: (read) => [
      table(
        INGEST_HEAD,
        ingestRows(read, {
          'ingest.short': 'short: runs that end within a flush window',
          'ingest.failing': 'the same, 1 % fail with a message',
          'ingest.short_aof_rewritten':
            'short, the append-only file written anew from 64 MiB on, Redis’ default',
          'ingest.short_async_commit': 'short, `synchronous_commit` off',
          'ingest.agent': 'short, nine of ten steps with attributes as those of an agent',
          'ingest.long': 'long: 10,000 runs side by side, every step travels alone',
          'ingest.floor_upsert': 'floor: upsert',
          'ingest.floor_writer': 'floor: trace writer, so assembling too',
          'ingest.floor_copy': 'floor: COPY',
        }),
      ),
      table(
        ['ratio', ''],
        [
          ['short of the floor, by upsert', read.of('ingest.short.of_floor_upsert')],
          ['short of the floor, by COPY', read.of('ingest.short.of_floor_copy')],
          ['CPU of short to the floor, by upsert', read.of('ingest.short.cpu_to_floor_upsert')],
          ['CPU of an agent’s runs to short', read.of('ingest.agent.cpu_to_short')],
          ['long of short', read.of('ingest.long.of_short')],
        ],
      ),
    ],
  },
  {
    of: 'peers',
    title: 'Ingest: other ways to the same table',
    text: 'The same runs, the same table, as many producers and connections: one XADD an event and one INSERT a run; one BullMQ job a run; one an event (50 jobs at once, events added 12 at a time). They gather events in memory and promise nothing of what Stepwell promises.',
    tables: (read) => [
      table(
        [...INGEST_HEAD, 'Stepwell is faster by'],
        ingestRows(read, {
          'peers.stepwell': 'Stepwell',
          'peers.xadd_per_event': 'XADD an event, INSERT a run',
          'peers.bullmq_per_trace': 'BullMQ job a run',
          'peers.bullmq_per_event': 'BullMQ job an event',
        }).map((row, i) => [
          ...row,
          i === 0
            ? ''
            : read.of(`peers.to_${['', 'xadd_per_event', 'bullmq_per_trace', 'bullmq_per_event'][i]}`),
        ]),
      ),
    ],
  },
  {
    of: 'workers',
    title: 'Ingest: more workers, more streams',
    text: 'The short runs on the same two cores: what it costs, not what it gains; more cores are what more workers are for.',
    tables: (read) => [
      table(
        ['workers on streams', 'traces/s', 'CPU', 'speed to 1 on 1', 'CPU to 1 on 1'],
        read
          .partsAfter('workers.')
          .map((name) => [
            name.replaceAll('_', ' '),
            read.of(`workers.${name}.traces`),
            read.of(`workers.${name}.cpu`),
            read.of(`workers.${name}.to_one`),
            read.of(`workers.${name}.cpu_to_one`),
          ]),
      ),
    ],
  },
  {
    of: 'latency',
    title: 'Latency: from the end of a run to where somebody sees it',
    text: 'A run every 10 ms among others at a share of what the pipeline takes at most: until a poll of Postgres (every 2 ms) finds it, or `stepwell tail --json` prints its end. Milliseconds.',
    tables: (read) => [
      table(
        ['load', 'Postgres p50', 'p99', 'max', 'tail p50', 'p99', 'max'],
        ['10', '50', '90'].map((load) => [
          `${load} %`,
          ...['postgres', 'tail'].flatMap((where) =>
            percentiles(read, `latency.${where}_at_${load}`, ['p50', 'p99', 'max']),
          ),
        ]),
      ),
    ],
  },
]
