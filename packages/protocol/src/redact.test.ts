import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeObject, REDACTED } from './plain-json.ts'
import { makeRedactor, type RedactOptions, type Redactor, redactMessage } from './redact.ts'

const usual = makeRedactor(true) as Redactor

describe('keys', () => {
  test.each([
    'password',
    'PASSWORD',
    'dbPassword',
    'db_password',
    'PGPASSWORD',
    'userPasswd',
    'pwd',
    'secret',
    'clientSecret',
    'AWS_SECRET_ACCESS_KEY',
    'apiKey',
    'api_key',
    'API-Key',
    'X-Api-Key',
    'OPENAI_API_KEY',
    'apikey',
    'accessToken',
    'token',
    'auth_token',
    'refreshToken',
    'Authorization',
    'proxy-authorization',
    'cookie',
    'Set-Cookie',
    'credentials',
    'private_key',
    'privateKey',
    'sessionId',
    'jwt',
    'auth',
    'connectionString',
    'card_number',
    'cvv',
  ])('%s is a secret', (key) => {
    expect(usual.isSecretKey(key)).toBe(true)
    expect(usual.isSecretKey(key)).toBe(true)
  })

  test.each([
    'usage.input_tokens',
    'tokens',
    'max_tokens',
    'token_count',
    'tokenizer',
    'key',
    'keyboard',
    'primary_key',
    'author',
    'authors',
    'passed',
    'passenger',
    'monkey',
    'session',
    'env',
    'url',
    'secretary',
    'compass',
    '',
    'model',
    'cacheKey',
  ])('%s is none', (key) => {
    expect(usual.isSecretKey(key)).toBe(false)
  })

  test('names in any spelling, and patterns, also with the flag g', () => {
    const own = makeRedactor({ keys: ['customer_email', /^x-/gi] }) as Redactor
    for (const key of [
      'customerEmail',
      'CUSTOMER-EMAIL',
      'customer email',
      'x-trace',
      'X-Trace',
      'x-trace',
      'password',
    ])
      expect(own.isSecretKey(key), key).toBe(true)
    expect(own.isSecretKey('email')).toBe(false)
    expect((makeRedactor({ defaults: false }) as Redactor).isSecretKey('password')).toBe(false)
  })
})

describe('texts', () => {
  const SECRET = 'hUnt3r2secretvalue99'
  test.each([
    ['postgres://app:hUnt3r2secretvalue99@db:5432/x', 'postgres://[redacted]@db:5432/x'],
    ['redis://:hUnt3r2secretvalue99@127.0.0.1:6379', 'redis://[redacted]@127.0.0.1:6379'],
    ['https://hUnt3r2secretvalue99@github.com/a/b.git', 'https://[redacted]@github.com/a/b.git'],
    ['postgres://a:p@hUnt3r2secretvalue99@h/d', 'postgres://[redacted]@h/d'],
    ['postgres://a:p/hUnt3r2secretvalue99@h/d', 'postgres://[redacted]@h/d'],
    ['a://u:hUnt3r2secretvalue99@h, b://v:hUnt3r2secretvalue99@i', 'a://[redacted]@h, b://[redacted]@i'],
    ['cannot reach "amqp://u:hUnt3r2secretvalue99@mq/v" (x)', 'cannot reach "amqp://[redacted]@mq/v" (x)'],
    ['Authorization: Bearer hUnt3r2secretvalue99', `Authorization: ${REDACTED}`],
    ['curl -H "X-Api-Key: hUnt3r2secretvalue99" x', `curl -H "X-Api-Key: ${REDACTED}" x`],
    ['sent Bearer hUnt3r2secretvalue99.', `sent Bearer ${REDACTED}`],
    ['password=hUnt3r2secretvalue99 host=x', `password=${REDACTED} host=x`],
    ['PGPASSWORD=hUnt3r2secretvalue99 psql', `PGPASSWORD=${REDACTED} psql`],
    ['{"api_key": "hUnt3r2secretvalue99", "a": 1}', `{"api_key": ${REDACTED}, "a": 1}`],
    ['{\\"token\\":\\"hUnt3r2secretvalue99\\",\\"a\\":1}', undefined],
    ["{'client_secret': 'with space hUnt3r2secretvalue99'}", `{'client_secret': ${REDACTED}}`],
    ['deploy --token hUnt3r2secretvalue99 --force', `deploy --token ${REDACTED} --force`],
    ['mysql --password="hUnt3r2secretvalue99 b"', `mysql --password=${REDACTED}`],
    ['GET /x?access_token=hUnt3r2secretvalue99&page=2', `GET /x?access_token=${REDACTED}&page=2`],
    ['Incorrect API key provided: sk-hUnt3r2secretvalue99', undefined],
    ['key AKIAABCDEFGHIJKLMNOP here', `key ${REDACTED} here`],
    ['ghp_hUnt3r2secretvalue99 pushed', `${REDACTED} pushed`],
    ['eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.hUnt3r2secretvalue99 expired', `${REDACTED} expired`],
    [
      '-----BEGIN RSA PRIVATE KEY-----\nhUnt3r2secretvalue99\n-----END RSA PRIVATE KEY-----\nx',
      `${REDACTED}\nx`,
    ],
  ])('%s', (text, clean) => {
    expect(usual.text(text)).not.toContain(SECRET)
    if (clean !== undefined) expect(usual.text(text)).toBe(clean)
  })

  test.each([
    'eyJhbGciOiJIUzI1NiJ9',
    'AKIAABCDEFGHIJKLMNOP',
    'ASIAABCDEFGHIJKLMNOP',
    'ABIAABCDEFGHIJKLMNOP',
    'ACCAABCDEFGHIJKLMNOP',
    'AIza0123456789abcdefghij0123456789',
    ...['ghp_', 'gho_', 'ghs_', 'github_pat_', 'glpat-', 'npm_', 'hf_', 'xoxb-', 'xapp-', 'pypi-', 'sk-'].map(
      (form) => `${form}0123456789abcdef`,
    ),
    ...['sk_live_', 'rk_test_', 'whsec_', 'dop_v1_', 'shpat_', 'lin_api_'].map((form) => `${form}0123456789`),
    'SG.0123456789abcdef.0123456789abcdef',
    '-----BEGIN PRIVATE KEY-----\n0123\n-----END PRIVATE KEY-----',
  ])('%s is known by its form alone, also among letters of other scripts', (token) => {
    expect(usual.text(token)).toBe(REDACTED)
    expect(usual.text(`日本 ${token} 語`)).toBe(`日本 ${REDACTED} 語`)
  })

  test('what makes a text worth a closer look makes no difference', () => {
    // Holds a hint of each kind, and nothing that is taken out.
    const hinting = 'monkeys, eyJab, pwd=, '
    expect(usual.text(hinting)).toBe(hinting)
    const bricks =
      'pAss PWD secret= Token token: keY=abc1 bearer Basic digest AUTHorization= passwd= cookie: credential=x abcdef123456 :// u:p@h " = 1 a é 日 eyJabcdefgh AKIA0123456789ABCDEF ghp_0123456789 npm_0123456789 sk-0123456789abcdef SG. BEGIN --token'.split(
        ' ',
      )
    for (const one of bricks) {
      for (const between of ['', ' ', '='])
        for (const other of bricks) {
          const text = `${one}${between}${other}`
          expect(usual.text(`${hinting}${text}`)).toBe(`${hinting}${usual.text(text)}`)
        }
    }
  })

  test.each([
    'connect ECONNREFUSED 127.0.0.1:6379',
    'https://example.com:8080/@scope/pkg?x=1#frag',
    'Basic authentication failed',
    'Unexpected token } in JSON at position 4',
    'used 812 tokens: 400 in, 412 out',
    'duplicate key value violates unique constraint "users_pkey"',
    'key not found: user:17',
    'http://[::1]:8080/a@b',
    'Bearer authentication is required',
    'mail a@b.example about https://x.example/y',
  ])('leaves %s', (text) => {
    expect(usual.text(text)).toBe(text)
  })

  test('own patterns, whatever their flags, and a function, which comes last', () => {
    const own = makeRedactor({
      values: [/\b\d{3}-\d{2}-\d{4}\b/],
      replace: (text, key) => (key === 'email' ? text.replace(/.+@/, '…@') : text),
    }) as Redactor
    expect(own.text('123-45-6789 and 987-65-4321')).toBe(`${REDACTED} and ${REDACTED}`)
    expect(own.text('me@x.example', 'email')).toBe('…@x.example')
    expect(own.text('me@x.example')).toBe('me@x.example')
  })

  test('a function that throws, or gives no text, takes the text out whole', () => {
    const failing = makeRedactor({
      replace: () => {
        throw new Error('mine')
      },
    }) as Redactor
    expect(failing.text('anything')).toBe(REDACTED)
    expect((makeRedactor({ replace: (() => 7) as never }) as Redactor).text('x')).toBe(REDACTED)
  })

  test('takes linear time, whatever the text', () => {
    const bricks = [
      'password',
      'token=',
      '://',
      '@',
      ':',
      '"',
      "'",
      ' ',
      'eyJ',
      'bearer ',
      '-----BEGIN ',
      '--',
      'sk-',
      '\\',
      'a',
      'key',
      '1',
      'PRIVATE KEY-----',
    ]
    /** Milliseconds of CPU. */
    const timeOf = (text: string): number => {
      const before = process.cpuUsage()
      usual.text(text)
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1_000
    }
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...bricks), { minLength: 1, maxLength: 4 }), (parts) => {
        const brick = parts.join('')
        // A quadratic pattern takes seconds to minutes for this much.
        expect(timeOf(brick.repeat(Math.ceil(200_000 / brick.length)))).toBeLessThan(1_000)
      }),
      { numRuns: 150 },
    )
  })
})

describe('in metadata and messages', () => {
  test('whole values under secret keys, texts anywhere, keys that hold secrets, in Maps, errors and toJSON', () => {
    const value = {
      password: { nested: 'gone' },
      token: 12345,
      list: ['postgres://u:hunter2@h/d'],
      map: new Map([['api_key', 'gone']]),
      error: new Error('password=hunter2'),
      'redis://u:hunter2@h': 1,
      own: { toJSON: () => ({ secret: 'gone', kept: 1 }) },
      url: new URL('https://u:hunter2@x.example/'),
      empty: { password: null },
    }
    const text = encodeObject(value, undefined, usual)
    expect(text).not.toMatch(/hunter2|gone|12345/)
    expect(JSON.parse(text)).toMatchObject({
      password: REDACTED,
      own: { secret: REDACTED, kept: 1 },
      list: ['postgres://[redacted]@h/d'],
      empty: { password: REDACTED },
    })
  })

  test('a message that is cut leaves no half of a secret', () => {
    const message = `${'x '.repeat(32_760)}postgres://user:hunter2hunter2@h/d`
    expect(redactMessage(message, usual)).not.toContain('hunter2')
    expect(redactMessage('password=hunter2', undefined)).toBe('password=hunter2')
  })

  test('no secret of these kinds gets through, wherever it stands', () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9]{12,30}$/)
    const around = fc.string({ maxLength: 40 }).map((text) => `${text} `)
    fc.assert(
      fc.property(secret, around, fc.nat(4), (value, before, kind) => {
        const text = [
          `${before}postgres://u:${value}@h/d`,
          `${before}password=${value}`,
          `${before}"client_secret":"${value}"`,
          `${before}Authorization: Bearer ${value}1`,
          `${before}?api_key=${value}&x=1`,
        ][kind] as string
        expect(usual.text(text)).not.toContain(value)
      }),
    )
  })
})

test('options that cannot be used are refused with what is right', () => {
  expect(() => makeRedactor({ keys: 'password' } as never)).toThrow(/list of names/)
  expect(() => makeRedactor({ values: ['x'] } as never)).toThrow(/patterns/)
  expect(() => makeRedactor({ key: [] } as never)).toThrow(/there is no 'key'/)
  expect(() => makeRedactor(7 as never)).toThrow(/true, false/)
  expect(makeRedactor(false)).toBeUndefined()
  const options: RedactOptions = {}
  expect(makeRedactor(options)?.isSecretKey('password')).toBe(true)
})

test('a value goes behind each name of a secret, however both are written', () => {
  const words = 'password passwd passphrase pwd secret credential authorization cookie token'.split(' ')
  for (const first of 'api access secret private signing encryption account shared auth'.split(' '))
    for (const join of ['', '_', '-']) words.push(`${first}${join}key`)
  for (const word of words.flatMap((word) => [word, word.toUpperCase(), `my_${word}`, `"${word}`]))
    for (const end of ['', '_key', '-value', 'Hash', '_ID'])
      for (const sign of [
        '=',
        ' = ',
        ':',
        '":"',
        '\\": \\"',
        "' => '",
        '    :    ',
        ' := ',
        ' == "',
        ' === ',
      ])
        for (const before of ['', 'a key, some tokens: '])
          expect(usual.text(`${before}${word}${end}${sign}hUnt3r2 z`)).not.toContain('hUnt3r2')
})
