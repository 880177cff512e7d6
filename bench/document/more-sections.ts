import type { Section } from './sections.ts'
import { type Reader, table } from './table.ts'

const growthTable = (read: Reader, of: string, label: string): string => {
  const sizes = read.partsAfter(`growth.${of}.`)
  const base = read.partsAfter(`growth.${of}.${sizes.at(-1)}.`).find((part) => part.startsWith('cpu_to_'))
  const to = base?.slice('cpu_to_'.length) ?? ''
  const name = (size: string): string => `growth.${of}.${size}`
  return table(
    [label, 'CPU', 'time', `CPU to ${Number(to).toLocaleString('en-US')}`, 'time'],
    sizes.map((size) => [
      Number(size).toLocaleString('en-US'),
      read.of(`${name(size)}.cpu`),
      read.of(`${name(size)}.time`),
      read.of(`${name(size)}.cpu_to_${to}`),
      read.of(`${name(size)}.time_to_${to}`),
    ]),
  )
}

/** The parts about what is held, and what is asked. */
export const MORE_SECTIONS: readonly Section[] = [
  {
    of: 'memory',
    title: 'Memory and storage',
    text: 'Of Redis: what it uses less once they are gone. An open trace has five deltas of a step each. Of Postgres: all indexes; `vacuumed` is what autovacuum makes of a month in time, `rewritten` (VACUUM FULL) the least that it could take.',
    tables: (read) => [
      table(
        ['', ''],
        [
          ['worker at full load, most resident', read.with('memory.worker.peak')],
          ['client, before', read.with('memory.client.before')],
          [
            'client that goes on recording while Redis is down, most resident',
            read.with('memory.client.redis_down'),
          ],
          ['Redis, an event in the stream', read.with('memory.redis.event')],
          ['Redis, a correlation key', read.with('memory.redis.correlation_key')],
          ['Redis, an open trace', read.with('memory.redis.open_trace')],
          ['after the drain: pending', read.with('memory.drained.pending')],
          ['after the drain: lag', read.with('memory.drained.lag')],
          ['after the drain: open', read.with('memory.drained.open')],
          ['after the drain: stream, its live window', read.with('memory.drained.stream')],
        ],
      ),
      table(
        ['bytes a 10-step trace', 'ingested', 'vacuumed', 'rewritten'],
        ['short', 'failing', 'long'].map((kind) => [
          kind,
          ...['ingested', 'vacuumed', 'rewritten'].map((when) => read.of(`storage.${kind}.${when}`)),
        ]),
      ),
      table(
        ['of these, short, ingested', 'bytes'],
        read
          .partsAfter('storage.short.ingested.')
          .map((part) => [part, read.of(`storage.short.ingested.${part}`)]),
      ),
    ],
  },
  {
    of: 'growth',
    title: 'Growth: what a trace costs when there is more of everything',
    text: 'CPU of all processes and time through the pipeline, in µs for 10 steps. Stored traces lie in the month that is written to. Of traces with many steps beginning and end weigh less; those over a frame travel in parts. A worker gathers 12 Mi letters of runs in memory ([ADR 10](adr/0010-open-state.md)): where more are open at once, the rest is folded, which takes what all of them took before.',
    tables: (read) => [
      growthTable(read, 'stored', 'traces stored'),
      growthTable(read, 'skills', 'skills'),
      growthTable(read, 'steps', 'steps a trace'),
      growthTable(read, 'open', 'traces open at once'),
    ],
  },
  {
    of: 'query',
    title: 'Questions',
    text: 'Through `TraceQuery`, in turns, 200 times each about something else (a question that takes long less often), over generated traces of 90 days: durations with long tails, up to 3 % failures a step, 200 skills, users and messages by Zipf. Milliseconds as the caller sees them, and what the last one read.',
    tables: (read, { notes }) => {
      const plans = notes.map(
        (note) => [note.slice(0, note.indexOf(':')), note.slice(note.indexOf(':') + 2)] as const,
      )
      const asked = read.partsAfter('query.').filter((name) => read.of(`query.${name}.p95`) !== '')
      return [
        `${read.of('query.traces')} traces, ${read.of('query.failures')} of them failed, ${read.of('query.table')} bytes each, built in ${read.with('query.build')}.`,
        table(
          ['', 'p50', 'p95', 'p99', 'reads'],
          asked.map((name) => [
            name,
            ...['p50', 'p95', 'p99'].map((share) => read.of(`query.${name}.${share}`)),
            plans.flatMap(([of, plan]) => (of === name ? [plan] : [])).join('<br>'),
          ]),
        ),
      ]
    },
  },
  {
    of: 'similar',
    title: 'Similar failures, and groups of failures',
    text: 'Through `TraceQuery`, in turns, 300 times each about something else (groups 20 times), over failures of 90 days, 200 skills and messages by Zipf, nothing but failures. `frequent` and `any` ask for messages that are there, by how often they are and evenly; `changed` for such with other numbers; `words` for three words of one; `hundred` for a hundred traces. Milliseconds as the caller sees them.',
    tables: (read) => [
      `${read.of('similar.failures')} failures with ${read.of('similar.messages')} different messages, built in ${read.with('similar.build')}.`,
      table(
        ['', 'p50', 'p95', 'p99', 'with `intarray`: p50', 'p95', 'p99'],
        read
          .partsAfter('similar.plain.')
          .map((name) => [
            name,
            ...['plain', 'intarray'].flatMap((where) =>
              ['p50', 'p95', 'p99'].map((share) => read.of(`similar.${where}.${name}.${share}`)),
            ),
          ]),
      ),
      table(
        ['groups', 'p50', 'p95', 'p99'],
        read
          .partsAfter('similar.groups.')
          .filter((name) => name !== 'all')
          .map((name) => [
            name,
            ...['p50', 'p95', 'p99'].map((share) => read.of(`similar.groups.${name}.${share}`)),
          ]),
      ),
    ],
  },
  {
    of: 'retention',
    title: 'Retention: a month without its successes',
    text: 'The same month twice: written anew by `applyRetention`, and by `DELETE` and `VACUUM` ([ADR 11](adr/0011-retention.md)). Meanwhile a writer stores 50 runs at a time into the current month. How long others were kept out is told by the rewrite itself.',
    tables: (read) => [
      table(
        ['', 'seconds', 'CPU of Postgres', 'WAL', 'size after', 'others kept out'],
        [
          ['rewritten', 'rewritten', 'retention.locked'],
          ['deleted and vacuumed', 'deleted', undefined],
        ].map(([label = '', name, locked]) => [
          label,
          ...['seconds', 'cpu', 'wal', 'size_after'].map((what) => read.with(`retention.${name}.${what}`)),
          locked === undefined ? '–' : read.with(locked),
        ]),
      ),
      table(
        ['a write of 50 runs meanwhile, ms', 'p50', 'p99', 'max'],
        ['alone', 'rewritten', 'deleted'].map((name) => [
          name,
          ...['p50', 'p99', 'max'].map((share) => read.of(`retention.${name}.writes.${share}`)),
        ]),
      ),
    ],
  },
  {
    of: 'stated',
    title: 'The specification’s stated speeds',
    text: 'Single calls, as a caller sees them.',
    tables: (read) => [
      table(
        ['', 'stated', 'seen'],
        [
          ['trace creation p50', '10 ms', read.with('stated.trace_creation.p50')],
          ['trace creation p95', '50 ms', read.with('stated.trace_creation.p95')],
          ['trace creation p99', '100 ms', read.with('stated.trace_creation.p99')],
          ['step recording p99', '1 ms', read.with('stated.step_recording.p99')],
          ['step recording p99.9', '', read.with('stated.step_recording.p99.9')],
          ['insert of a 10-step trace (`finalizeTrace`) p95', '20 ms', read.with('stated.insert.p95')],
          [
            'by skill over 30 days, 50,000 traces stored, p95',
            '100 ms',
            read.with('stated.by_skill_30_days.p95'),
          ],
          [
            'similar failures among 1,000, p95',
            '500 ms (among 100)',
            read.with('stated.similar_of_1000_failures.p95'),
          ],
        ],
      ),
    ],
  },
  {
    of: 'redaction',
    title: 'Redaction',
    text: 'CPU of a producer for a run of 10 steps, nine of them with attributes and one with an error message, metadata with four members; looking for secrets or not.',
    tables: (read) => [
      table(
        ['with', 'without', 'ratio'],
        [
          [
            read.with('redaction.with.cpu'),
            read.with('redaction.without.cpu'),
            read.of('redaction.to_without'),
          ],
        ],
      ),
    ],
  },
  {
    of: 'storage_form',
    title: 'Forms of steps',
    text: 'Bytes that the steps of a 10-step trace take, nothing else in the table: [ADR 2](adr/0002-storage-form-of-steps.md).',
    tables: (read) => [
      table(
        ['form', 'bytes'],
        read.partsAfter('storage_form.').map((form) => [`\`${form}\``, read.of(`storage_form.${form}`)]),
      ),
    ],
  },
]
