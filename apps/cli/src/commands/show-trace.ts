import { parseTraceId, type Trace } from '@stepwell/protocol'
import { clockSkew, skewJson, traceJson } from '@stepwell/query'
import { askRedis } from '../ask-redis.ts'
import { type CommandContext, writeJson, writeLines } from '../command.ts'
import { Failure } from '../errors.ts'
import { openTrace } from '../open-traces.ts'
import { waterfallLines } from '../waterfall.ts'

const STEPS_SHOWN = 200

/** Shows one trace, by its id or its execution id. One that only just began is looked for in Redis. */
export async function showTrace(
  context: CommandContext,
  wanted: string,
  options: { json?: boolean; all?: boolean },
): Promise<void> {
  const trace = await findTrace(context, wanted)
  if (options.json) {
    const skew = clockSkew(trace)
    return writeJson(context, {
      ...traceJson(trace),
      ...(skew === undefined ? {} : { clock_skew: skewJson(skew) }),
    })
  }
  const maxSteps = options.all ? Number.POSITIVE_INFINITY : STEPS_SHOWN
  await writeLines(context, waterfallLines(trace, context.terminal, { maxSteps, nowMs: Date.now() }))
}

/** The trace with this id or execution id, stored or still in Redis alone. Throws Failure where there is none. */
export async function findTrace(context: CommandContext, wanted: string): Promise<Trace> {
  const query = context.connections.query()
  const traceId = parseTraceId(wanted)
  const stored = traceId === undefined ? undefined : await query.getTrace(traceId)
  if (stored !== undefined) return stored
  const { answer: open, away } =
    traceId === undefined ? {} : await askRedis(context, (redis) => openTrace(redis, context.env, traceId))
  const trace = open ?? (await query.getTraceByExecutionId(wanted))
  if (trace !== undefined) return trace
  if (away !== undefined) throw new Failure(`In Postgres there is no trace '${wanted}'. ${away}`)
  throw new Failure(`There is no trace with the id or execution id '${wanted}'`)
}
