import pg from 'pg'
import type { BoundValues } from './bound-values.ts'
import type { Database } from './database.ts'

/** A statement, and the values that it is sent with. */
export interface BoundStatement {
  text: string
  bound: BoundValues
}

/**
 * Does the statements, those before without values, as one transaction, all or none, and gives the number of rows of the last. They are
 * sent together and answered together: what stands before one Sync is a transaction
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING). With `begin` and `commit` around them each would wait for its
 * turn in this process three times, with the rows locked, and Postgres would wait for it. Throws what `pg` throws.
 */
export async function sendAtOnce(
  database: Database,
  before: readonly string[],
  last: BoundStatement,
): Promise<number> {
  const client = await database.connect()
  try {
    const rows = await new Promise<number>((resolve, reject) => {
      const answered = (error: Error | undefined, results: pg.QueryResult | pg.QueryResult[]): void => {
        if (error) reject(error)
        else resolve([results].flat().at(-1)?.rowCount ?? 0)
      }
      ;(client.query as (query: pg.Submittable, answered: unknown) => void)(
        new AtOnce(before, last),
        answered,
      )
    })
    // Where it fails a connection that is gone may hold what it did not send.
    last.bound.free()
    return rows
  } catch (error) {
    // Where the session has ended, the connection may not know it yet, and would be lent once more. What it is asked next tells it.
    await client.query('select').catch(() => {})
    throw error
  } finally {
    client.release()
  }
}

/** The last statement is what the query counts as, for who looks at what is sent. */
class AtOnce extends pg.Query {
  readonly #before: readonly string[]
  readonly #last: BoundStatement

  constructor(before: readonly string[], last: BoundStatement) {
    super({ text: last.text, values: last.bound.values })
    this.#before = before
    this.#last = last
  }

  override submit = (connection: pg.Connection): void => {
    const { text, bound } = this.#last
    connection.stream.cork()
    for (const before of this.#before) {
      connection.parse({ name: '', text: before, types: [] }, true)
      connection.bind({ values: [] }, true)
      connection.execute({}, true)
    }
    connection.parse({ name: '', text, types: [] }, true)
    connection.stream.write(bound.message)
    connection.execute({}, true)
    connection.sync()
    connection.stream.uncork()
  }
}
