import { NAMESPACE, parseRedisUrl } from '@stepwell/protocol'
import * as z from 'zod'
import { UsageError } from './errors.ts'

const postgresUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\/./, 'must be a URL like postgres://user@host:5432/name')

/** The environment of the command line: every variable, its meaning and its default. */
export const environmentSchema = z.object({
  REDIS_URL: z
    .string()
    .superRefine((url, context) => {
      try {
        parseRedisUrl(url)
      } catch (error) {
        context.addIssue({ code: 'custom', message: `cannot be used. ${(error as Error).message}` })
      }
    })
    .optional()
    .describe('Redis that producers write to, a cluster or sentinels too: tail, running, stuck, import, run'),
  DATABASE_URL: postgresUrl.optional().describe('Postgres that the traces are in'),
  DATABASE_REPLICA_URL: postgresUrl.optional().describe('A replica of it that reading commands ask instead'),
  STEPWELL_NAMESPACE: z
    .string()
    .regex(NAMESPACE, 'must be up to 64 of A-Z a-z 0-9 _ . : -')
    .default('stepwell')
    .describe('Prefix of all Redis keys'),
  STEPWELL_SCHEMA: z.string().optional().describe('Postgres schema of the tables; default: the search path'),
  STEPWELL_SHARDS: z.coerce
    .number('must be a whole number from 1 to 256')
    .int()
    .min(1)
    .max(256)
    .default(1)
    .describe('Number of streams, as producers and workers have it'),
  STEPWELL_RETENTION_MONTHS: z.coerce
    .number('must be a whole number')
    .int()
    .min(0)
    .max(1200)
    .default(0)
    .describe('Whole months to keep, as workers have it: what `stepwell retention` goes by'),
  STEPWELL_RETENTION_CLASSES: z
    .string()
    .default('')
    .describe('Days that finished runs are kept by class, as workers have it'),
  STEPWELL_TRACE_CONTEXT: z
    .string()
    .optional()
    .describe('Where `stepwell run` was started from, if that is traced: it sets it for its command'),
  INIT_CWD: z.string().optional().describe('Where npm was called: relative paths count from there'),
  COLUMNS: z.coerce.number().int().min(20).optional().catch(undefined).describe('Width of the output'),
})

/** The environment, parsed. */
export type Environment = z.output<typeof environmentSchema>

/** Reads the environment; empty variables count as not set. Throws UsageError that names the variable and what it should be. */
export function readEnvironment(env: Record<string, string | undefined> = process.env): Environment {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  const parsed = environmentSchema.safeParse(set)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new UsageError(`${String(issue?.path[0])} ${issue?.message}`)
}

/** The environment that a traced command gets: this process's own, with the trace that it runs in. */
export function commandEnvironment(traceContext: string): Record<string, string | undefined> {
  return { ...process.env, STEPWELL_TRACE_CONTEXT: traceContext }
}

/** The environment of a drill's worker: this process's own, in a place of its own, quick to take over from a dead one. */
export function drillEnvironment(place: {
  namespace: string
  schema: string
  shards: number
}): Record<string, string | undefined> {
  return {
    ...process.env,
    STEPWELL_NAMESPACE: place.namespace,
    STEPWELL_SCHEMA: place.schema,
    STEPWELL_SHARDS: String(place.shards),
    STEPWELL_MIGRATE: 'on',
    STEPWELL_STALE_S: '1',
    STEPWELL_CHECKPOINT_S: '1',
    STEPWELL_HEALTH_PORT: '0',
    STEPWELL_LOG_LEVEL: 'info',
    STEPWELL_CORRELATION: 'open',
    STEPWELL_RETENTION_MONTHS: '0',
    STEPWELL_RETENTION_CLASSES: '',
  }
}
