import { expect, test } from 'vitest'
import { unusable } from './connections.ts'

// As INFO begins, of servers that were tried.
const info = (...lines: string[]): string => ['# Server', ...lines, ''].join('\r\n')

test.each([
  ['Redis 6.0', info('redis_version:6.0.16', 'cluster_enabled:0'), /^Redis 6\.0\.16 is too old/],
  ['Redis 5', info('redis_version:5.0.14'), /^Redis 5\.0\.14 is too old/],
  ['a node of a cluster', info('redis_version:7.0.15', 'cluster_enabled:1'), /redis\+cluster:\/\//],
])('%s is refused', (_, text, reason) => {
  expect(unusable(text)).toMatch(reason)
})

test.each([
  ['Redis 6.2', info('redis_version:6.2.16', 'cluster_enabled:0')],
  ['Redis 8', info('redis_version:8.0.6', 'cluster_enabled:0')],
  ['Redis 10', info('redis_version:10.0.0')],
  ['Valkey', info('redis_version:7.2.4', 'server_name:valkey', 'valkey_version:9.1.2')],
  ['one that does not tell', ''],
])('%s is used', (_, text) => {
  expect(unusable(text)).toBeUndefined()
})
