import { startPostgres } from '@stepwell/testkit'
import pg from 'pg'
import { expect, it } from 'vitest'

async function query(connectionString: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

it('keeps what was committed through a kill, and its port', async () => {
  await using server = await startPostgres()
  await query(server.url, 'create table kept as select 1 as one')
  await server.kill()
  await expect(query(server.url, 'select 1')).rejects.toThrow(/ECONNREFUSED/)
  await server.restart()
  expect(await query(server.url, 'table kept')).toEqual([{ one: 1 }])
})

it('freezes open connections too while paused', async () => {
  await using server = await startPostgres()
  const client = new pg.Client({ connectionString: server.url, query_timeout: 300 })
  client.on('error', () => {})
  await client.connect()
  await client.query('select 1')
  server.pause()
  await expect(client.query('select 1')).rejects.toThrow(/timeout/)
  server.resume()
  await client.end()
  expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
})

it('takes settings, and is durable only when asked', async () => {
  await using server = await startPostgres({ durable: true, settings: { max_connections: '20' } })
  const settings =
    "select current_setting('fsync') as fsync, current_setting('max_connections') as connections"
  expect(await query(server.url, settings)).toEqual([{ fsync: 'on', connections: '20' }])
})
