// The same file is in packages/storage: neither may import the other.

/** What we need of a client of `pg`. */
interface Client {
  query: unknown
  /** Its connection; there, if undocumented, since the first version. */
  connection?: { stream?: { destroy(error: Error): unknown } }
}

/** Milliseconds that a server gets to say that it has given a statement up, before we give the server up. */
export const ANSWER_GRACE_MS = 5_000

/**
 * Gives a connection up whose server has not answered a statement for `ms`: the statement, and those behind it, reject with an error of
 * code ETIMEDOUT, and its pool makes a new connection. A frozen server acknowledges what it is sent and keeps its connections open: no
 * keep-alive of TCP, and no `statement_timeout`, which is the server's, ever ends that. The option `query_timeout` of `pg` would leave
 * the connection in the pool, with the next statement waiting behind the lost one.
 */
export function limitAnswers(client: Client, ms: number): void {
  const query = client.query as (...args: unknown[]) => unknown
  client.query = (...args: unknown[]): unknown => {
    const timer = setTimeout(() => client.connection?.stream?.destroy(noAnswer(ms)), ms)
    const answered = (): void => clearTimeout(timer)
    const last = args.at(-1)
    if (typeof last === 'function') {
      args[args.length - 1] = (...result: unknown[]): unknown => {
        answered()
        return last(...result)
      }
      return query.apply(client, args)
    }
    const answer = query.apply(client, args)
    if (answer instanceof Promise) answer.then(answered, answered)
    // A cursor: it has no one answer.
    else answered()
    return answer
  }
}

function noAnswer(ms: number): Error {
  const error = new Error(
    `Postgres has not answered for ${ms / 1_000} s: it stands still, or cannot be reached any more`,
  )
  return Object.assign(error, { code: 'ETIMEDOUT' })
}
