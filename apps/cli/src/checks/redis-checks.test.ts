import { expect, test } from 'vitest'
import { checkServer, parseInfo } from './redis-checks.ts'

// Servers that a test cannot start here, by what they tell of themselves.
test.each([
  ['redis_version:6.0.16', 'fail', '6.0.16'],
  ['redis_version:5.0.14', 'fail', '5.0.14'],
  ['redis_version:6.2.0', 'ok', '6.2.0'],
  ['redis_version:8.2.1', 'ok', '8.2.1'],
  ['redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0', 'ok', '8.1.0'],
])('the version of %o: %s', (info, status, found) => {
  expect(checkServer(parseInfo(`# Server\r\n${info}\r\n`))).toContainEqual(
    expect.objectContaining({ name: 'version', status, found }),
  )
})

test('an append-only file that cannot be written', () => {
  const info = 'aof_enabled:1\r\naof_last_write_status:err\r\nrdb_last_bgsave_status:ok\r\n'
  expect(checkServer(parseInfo(info))).toContainEqual(
    expect.objectContaining({ status: 'fail', found: 'the append-only file cannot be written' }),
  )
})
