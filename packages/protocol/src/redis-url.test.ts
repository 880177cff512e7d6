import { expect, test } from 'vitest'
import { InvalidInputError } from './errors.ts'
import { parseRedisUrl, redisHosts } from './redis-url.ts'

test.each(['redis://127.0.0.1:6379', 'rediss://u:p@h:1/3?family=6'])('%s stays as it is', (url) => {
  expect(parseRedisUrl(url)).toEqual({ kind: 'single', url })
})

test('a cluster: nodes, user and password, TLS', () => {
  expect(parseRedisUrl('redis+cluster://a:7000,b.example.org,[::1]:7002')).toEqual({
    kind: 'cluster',
    nodes: [
      { host: 'a', port: 7000 },
      { host: 'b.example.org', port: 6379 },
      { host: '::1', port: 7002 },
    ],
    redisOptions: {},
  })
  const place = parseRedisUrl('rediss+cluster://us%40er:p%3Aw%2F@a:1/0')
  expect(place).toMatchObject({
    kind: 'cluster',
    nodes: [{ host: 'a', port: 1 }],
    redisOptions: { username: 'us@er', password: 'p:w/', tls: {} },
  })
  // The name is what the certificate is for: an address in its place would be refused.
  if (place.kind === 'cluster') place.dnsLookup?.('name', (_, host) => expect(host).toBe('name'))
  expect.assertions(3)
})

test('sentinels: the master’s name, its database, passwords of both', () => {
  expect(parseRedisUrl('redis+sentinel://a,b:26380/my%20master')).toEqual({
    kind: 'sentinel',
    redisOptions: {
      sentinels: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 26380 },
      ],
      name: 'my master',
      db: 0,
    },
  })
  expect(
    parseRedisUrl('rediss+sentinel://:pw@a:1/m/2?sentinelUsername=su&sentinelPassword=s%20p'),
  ).toMatchObject({
    redisOptions: {
      password: 'pw',
      tls: {},
      sentinelTLS: {},
      enableTLSForSentinelMode: true,
      sentinelUsername: 'su',
      sentinelPassword: 's p',
      name: 'm',
      db: 2,
    },
  })
})

test.each([
  ['localhost:6379', /no Redis URL: use redis:\/\/host/],
  ['reds://u:secret@h', /no Redis URL/],
  ['redis+cluster://', /Host 1 .* not host:port/],
  ['redis+cluster://u:secret@a:1,,b', /Host 2/],
  ['redis+cluster://u:secret@a:99999', /Host 1/],
  ['redis+cluster://u:sec/ret@a:1', /Host 1/],
  ['redis+cluster://u:sec#ret@a:1', /no Redis URL/],
  ['redis+cluster://u:secret@a/3', /no databases/],
  ['redis+cluster://u:secret@a?secret=1', /parameter/],
  ['redis+cluster://u:%E0secret@a', /percent-encoded/],
  ['redis+sentinel://u:secret@a:1', /name of their master/],
  ['redis+sentinel://u:secret@a:1/m/x', /database's number/],
  ['redis+sentinel://u:secret@a:1/m?secret=1', /known are sentinelUsername/],
])('%s is refused, and nothing of it is shown', (url, message) => {
  const refusal = (): unknown => {
    try {
      return parseRedisUrl(url)
    } catch (error) {
      return error
    }
  }
  expect(refusal()).toBeInstanceOf(InvalidInputError)
  expect((refusal() as Error).message).toMatch(message)
  expect((refusal() as Error).message).not.toMatch(/sec|ret@/)
})

test.each([
  ['redis://u:secret@h:7/1', 'h:7'],
  ['redis://h', 'h:6379'],
  ['redis://u:sec ret@h:bad', 'the host of its URL'],
  ['redis+cluster://u:secret@a:1,[::1]:2', 'a:1, [::1]:2'],
  ['redis+sentinel://u:secret@a:1,b/m', 'a:1, b:26379'],
])('the hosts of %s are %s', (url, hosts) => {
  expect(redisHosts(parseRedisUrl(url))).toBe(hosts)
})
