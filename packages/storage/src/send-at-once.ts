import pg from 'pg'
import type { Database } from './database.ts'

/** What is sent: the values as text, or as bytes in Postgres' binary form. */
export interface Statement {
  text: string
  values: readonly (string | Buffer)[]
}

/**
 * Does the statements as one transaction, all or none, and gives the number of rows of the last. They are sent together and answered together: what
 * stands before one Sync is a transaction
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING). With `begin` and `commit` around them each would wait for its
 * turn in this process three times, with the rows locked, and Postgres would wait for it. Throws what `pg` throws.
 */
export async function sendAtOnce(database: Database, statements: readonly Statement[]): Promise<number> {
  const client = await database.connect()
  try {
    return await new Promise((resolve, reject) => {
      const answered = (error: Error | undefined, results: pg.QueryResult | pg.QueryResult[]): void => {
        if (error) reject(error)
        else resolve([results].flat().at(-1)?.rowCount ?? 0)
      }
      ;(client.query as (query: pg.Submittable, answered: unknown) => void)(new AtOnce(statements), answered)
    })
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
  readonly #statements: readonly Statement[]

  constructor(statements: readonly Statement[]) {
    const { text, values } = statements.at(-1) as Statement
    super({ text, values: [...values] })
    this.#statements = statements
  }

  override submit = (connection: pg.Connection): void => {
    connection.stream.cork()
    for (const { text, values } of this.#statements) {
      connection.parse({ name: '', text, types: [] }, true)
      connection.bind({ values: [...values] }, true)
      connection.execute({}, true)
    }
    connection.sync()
    connection.stream.uncork()
  }
}
