/** Done. */
export const EXIT_DONE = 0
/** It could not be done. */
export const EXIT_FAILED = 1
/** The call was wrong: nothing was tried. */
export const EXIT_USAGE = 2
/** Some of it was done, and the rest is said on stderr. */
export const EXIT_PARTLY = 3

/** The call was wrong: an option, an argument, a variable of the environment. */
export class UsageError extends Error {}

/** It could not be done, and everything there is to say is in the message. */
export class Failure extends Error {}

/** What went wrong, in a sentence that says what to do, and the exit code for it. */
export function explainError(error: unknown): { message: string; exitCode: number } {
  const { code } = error as { code?: string }
  const message = messageOf(error)
  if (error instanceof UsageError) return { message, exitCode: EXIT_USAGE }
  if (code === 'INVALID_INPUT') return { message: asTyped(message), exitCode: EXIT_USAGE }
  if (error instanceof Failure) return { message, exitCode: EXIT_FAILED }
  if ((error as Error).name === 'MaxRetriesPerRequestError')
    return { message: 'Redis has gone away, and has not come back', exitCode: EXIT_FAILED }
  return { message: advise(code, message), exitCode: EXIT_FAILED }
}

/** What packages call the arguments that an option gave, by the name of the option. */
const OPTIONS: Readonly<Record<string, string>> = {
  bucket: '--bucket',
  cursor: '--cursor',
  errorText: '--error',
  executionId: '--execution',
  failedStep: '--failed-step',
  id: '<group>',
  maxDurationMs: '--max-duration',
  metadata: '--metadata',
  minDurationMs: '--min-duration',
  newSince: '--new-since',
  since: '--since',
  skill: '--skill',
  stepName: '--step',
  until: '--until',
}

/** The sentence of a package about an argument, as one about the option that it came from. */
function asTyped(message: string): string {
  const [, baseline, name = '', rest = ''] = /^(baseline\.)?(\w+)( (?:must|belongs) .*)$/s.exec(message) ?? []
  const option = baseline === undefined ? OPTIONS[name] : `--baseline-${name}`
  if (option === undefined) return message
  // It is set against another one in words of the package, too.
  const other = rest.replace(/(?<=^ must not be (?:after|more than) )\w+$/, (word) =>
    baseline === undefined ? (OPTIONS[word] ?? word) : `--baseline-${word}`,
  )
  return `${option}${other}`
}

/** Of an address with several ways to it (`localhost`) each has its own error, and the whole no message. */
function messageOf(error: unknown): string {
  const { message, errors = [], code } = error as { message?: string; errors?: unknown[]; code?: string }
  return message || errors.map(messageOf).join(', ') || code || String(error)
}

// By code, as drivers and the server give it (https://www.postgresql.org/docs/current/errcodes-appendix.html).
function advise(code: string | undefined, message: string): string {
  switch (code) {
    case '42P01':
      return `${message}: the database has no tables of Stepwell. Run \`stepwell migrate\`; with a schema set STEPWELL_SCHEMA`
    case '42703':
      return `${message}: the tables are of another version. Run \`stepwell migrate\``
    // Not Redis: that is told where it is connected to (connections.ts).
    case 'ECONNREFUSED':
    case 'ECONNRESET':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'ETIMEDOUT':
      return `Postgres cannot be reached (${message}): is it running, and is its URL right (DATABASE_URL, DATABASE_REPLICA_URL)?`
    case '28P01':
    case '28000':
    case '3D000':
      return `Postgres refuses: ${message}. Look at DATABASE_URL`
    case '40001':
      return `${message}: the replica was asked while it had to take over a change of the primary. Ask again; docs/OPERATIONS.md says how to have it rarely`
    case '57014':
      return `${message}: it took too long. Ask for less: --since, --skill, --limit`
    default:
      return message
  }
}
