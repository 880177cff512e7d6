import { migrateToLatest } from '@stepwell/storage'
import pg from 'pg'

/** A migrated database of one program's own: a given server may hold somebody's traces. The caller drops it. */
export async function makeOwnDatabase(
  server: string,
  prefix: string,
): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `${prefix}_${process.pid}`
  const onServer = async (statement: string): Promise<void> => {
    const client = new pg.Client({ connectionString: server })
    await client.connect()
    await client.query(statement)
    await client.end()
  }
  await onServer(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  await migrateToLatest({ connectionString: url.href })
  return { url: url.href, drop: () => onServer(`drop database ${name} with (force)`) }
}
