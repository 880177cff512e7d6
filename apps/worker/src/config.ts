import { InvalidInputError, parseRedisUrl } from '@stepwell/protocol'
import { explain } from '@stepwell/protocol/schema'
import { parseRetentionRules } from '@stepwell/storage'
import * as z from 'zod'

const onOff = z.enum(['on', 'off']).transform((value) => value === 'on')
const retentionRules = z.string().transform((text, context) => {
  try {
    return parseRetentionRules(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
    return z.NEVER
  }
})
const wholeNumber = (min: number, max: number) => z.coerce.number().int().min(min).max(max)

/** The worker's environment: every variable, its meaning and its default. The table in docs/OPERATIONS.md says the same. */
export const environmentSchema = z.object({
  REDIS_URL: z
    .string()
    .superRefine((url, context) => {
      try {
        parseRedisUrl(url)
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message })
      }
    })
    .describe(
      'Redis that the producers write to: `redis://…`, `redis+cluster://…` or `redis+sentinel://…`, `rediss…` for TLS',
    ),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'a URL: postgres://user@host:5432/name')
    .describe('Postgres that the traces go to'),
  STEPWELL_NAMESPACE: z
    .string()
    .regex(/^[A-Za-z0-9_.:-]{1,64}$/)
    .default('stepwell')
    .describe('Prefix of all Redis keys'),
  STEPWELL_SCHEMA: z.string().optional().describe('Postgres schema of the tables; default: the search path'),
  STEPWELL_SHARDS: wholeNumber(1, 256)
    .default(1)
    .describe('Number of streams; the same for producers and workers'),
  STEPWELL_MIGRATE: onOff.default(true).describe('Bring the database up to date at the start'),
  STEPWELL_CORRELATION: z
    .enum(['hour', 'open'])
    .default('hour')
    .describe('Keep correlation keys for an hour after their last use, or only while the trace is open'),
  STEPWELL_RETENTION_MONTHS: wholeNumber(0, 1200)
    .default(0)
    .describe('Whole months to keep, whatever the classes say, and two days more; 0 keeps all'),
  STEPWELL_RETENTION_CLASSES: retentionRules
    .optional()
    .describe(
      'Days that finished runs are kept by status and skill, like `success=7d, failed=90d, docker-build/*=30d`; default: for ever',
    ),
  STEPWELL_DEAD_LETTERS_MAX: wholeNumber(0, 10_000_000)
    .default(100_000)
    .describe('Dead letters that are kept; new ones beyond it are only counted, by reason'),
  STEPWELL_DEAD_LETTERS_MAX_MIB: wholeNumber(0, 1_048_576)
    .default(1_024)
    .describe('The same for the size of their payloads, in MiB'),
  STEPWELL_DEAD_LETTERS_DAYS: wholeNumber(0, 36_500)
    .default(90)
    .describe('Days after which dead letters are removed, and counted; 0 keeps all'),
  STEPWELL_SILENCE_S: wholeNumber(15, 86_400)
    .default(60)
    .describe('Seconds without a sign of life until a producer counts as dead'),
  STEPWELL_STALE_S: wholeNumber(1, 86_400)
    .default(30)
    .describe('Seconds after which an entry that nobody touched is taken over from its worker'),
  STEPWELL_CHECKPOINT_S: wholeNumber(1, 600)
    .default(10)
    .describe('Seconds until an open trace is first stored as running'),
  STEPWELL_MAX_STEPS: wholeNumber(1, 200_000).default(10_000).describe('Steps that a trace keeps'),
  STEPWELL_HEALTH_PORT: wholeNumber(0, 65_535)
    .optional()
    .describe(
      'Port of /live, /ready and /metrics; 0: any free one; default: 9464, or any free one if that is taken',
    ),
  STEPWELL_HEALTH_HOST: z.string().default('127.0.0.1').describe('Address that the health port listens on'),
  STEPWELL_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
    .default('info')
    .describe('Least severity that is logged'),
  STEPWELL_SHUTDOWN_S: wholeNumber(1, 600).default(20).describe('Seconds that a clean shutdown may take'),
})

/** The environment, parsed. */
export type Environment = z.infer<typeof environmentSchema>

/** Reads the environment. Throws InvalidInputError that names the variable and what it should be. */
export function readEnvironment(env: Record<string, string | undefined> = process.env): Environment {
  const parsed = environmentSchema.safeParse(env)
  if (parsed.success) return parsed.data
  const name = String(parsed.error.issues[0]?.path[0])
  const missing = env[name] === undefined
  throw new InvalidInputError(
    missing
      ? `${name} is not set: ${environmentSchema.shape[name as 'REDIS_URL']?.description}`
      : explain(parsed.error),
  )
}
