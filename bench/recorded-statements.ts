import pg from 'pg'

/** A statement as it was sent. */
export interface Statement {
  text: string
  values: unknown[]
}

/** A class of clients that note what they are asked to send: what it is then costs, whoever wrote it, can be measured by itself. */
export function recordingClient(statements: Statement[]): typeof pg.Client {
  return class extends pg.Client {
    override query(...args: never[]): never {
      const [config, values] = args as unknown[] as [string | Statement, unknown[] | undefined]
      if (typeof config === 'string') statements.push({ text: config, values: values ?? [] })
      // It sends itself, and would again, from memory that is written to again.
      else if ('submit' in config)
        statements.push({
          text: config.text,
          values: config.values.map((value) => Buffer.from(value as Buffer)),
        })
      else if (typeof config.text === 'string')
        statements.push({ ...config, values: config.values ?? values ?? [] })
      return (super.query as (...args: never[]) => never)(...args)
    }
  } as typeof pg.Client
}
