import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { errorPattern, PATTERN_MAX_LENGTH, patternId } from './error-pattern.ts'

const EXAMPLES: Record<string, [message: string, pattern: string][]> = {
  'numbers and what holds a digit': [
    ['retry 3 of 5 in 1,234.5', 'retry <*> of <*> in <*>'],
    ['worker-17 died: thread#3 at offset -42', '<*> died: <*> at offset <*>'],
    ['job 01ARZ3NDEKTSV4RRFFQ69G5FAV of 550e8400-e29b-41d4-a716-446655440000', 'job <*> of <*>'],
    ['at 0xdeadbeef, also ffffffff', 'at <*>, also <*>'],
    ['sha256 d2a84f4b8b65 is not 9f86d081884c7d65', 'sha256 <*> is not <*>'],
    ['payload Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA== rejected', 'payload <*> rejected'],
    ['TaskEvent@7317849d was lost', '<*> was lost'],
    ['expected 100% but got 97.5%', 'expected <*> but got <*>'],
    ['needs version >= 2.1.0-rc.3, got v1.9', 'needs version >= <*>, got <*>'],
    ['ids 1, 2, 3 and 4', 'ids <*> and <*>'],
    ['ids 1 and 4', 'ids <*> and <*>'],
    ['٣ attempts', '<*> attempts'],
    ['account **** is locked', 'account <*> is locked'],
    ['key sk-proj-****abcd is locked', 'key <*> is locked'],
    ['wants ^1.2.3 or ~2.0', 'wants <*> or <*>'],
  ],
  'quantities and their units': [
    ['timed out after 30 seconds', 'timed out after <*>'],
    ['timed out after 1 minute', 'timed out after <*>'],
    ['timed out after 250ms', 'timed out after <*>'],
    ['timed out after <1 sec', 'timed out after <*>'],
    ['free 5.2 KB of 93.0 B', 'free <*> of <*>'],
    ['1133 bytes (1.10 KB) sent', '<*> sent'],
    ['0 bytes sent', '<*> sent'],
    ['took 5 tries (of 7)', 'took <*> tries (of <*>)'],
    ['slow: 10 MB/s at 45%', 'slow: <*> at <*>'],
  ],
  'dates and times': [
    ['2024-05-01T12:30:45.123Z job failed', '<*> job failed'],
    ['2024-05-01 12:30:45,123 +0200 job failed', '<*> job failed'],
    ['Sat Jun 11 03:28:22 2005 job failed', '<*> job failed'],
    ['Mon, 05 Jan 2024 10:00:00 GMT: job failed', '<*>: job failed'],
    ['expires at 9:05 AM on 5 March 2024', 'expires at <*> on <*>'],
    ['expires at 19:02:14 EST 2004 or 3:00 +0200 (CEST)', 'expires at <*> or <*>'],
    ['they May not and cannot March', 'they May not and cannot March'],
  ],
  'addresses, URLs, paths and files': [
    ['connect ECONNREFUSED 127.0.0.1:6379', 'connect ECONNREFUSED <*>'],
    ['connect ECONNREFUSED ::1:5432', 'connect ECONNREFUSED <*>'],
    ['dial [::1]:5432: at [12:30:45] refused', 'dial <*>: at [<*>] refused'],
    ['getaddrinfo EAI_AGAIN redis', 'getaddrinfo EAI_AGAIN <*>'],
    ['User: arn:aws:iam::1:role/a of localhost:80', 'User: <*> of <*>'],
    ['image data:image/png;base64,aGk= refused, data: none', 'image <*> refused, data: none'],
    ['connection from 10.0.0.1 () at 10.0.0.2 (b.example.com)', 'connection from <*> at <*>'],
    ['connect ETIMEDOUT 2001:db8::8a2e:370:7334', 'connect ETIMEDOUT <*>'],
    ['chip FF:F2:9F:16:CE:97: not found', 'chip <*>: not found'],
    ['std::bad_alloc in net::ERR_FAILED', 'std::bad_alloc in net::ERR_FAILED'],
    ['getaddrinfo ENOTFOUND api.openai.com', 'getaddrinfo ENOTFOUND <*>'],
    ['mail to alice.b@example.com bounced', 'mail to <*> bounced'],
    ['no bitmap from com.example.shop here', 'no bitmap from <*> here'],
    ['java.io.IOException in com.example.Shop.pay', 'java.io.IOException in com.example.Shop.pay'],
    ['GET https://api.x.io/v1/items?id=7&q=a%20b#top failed', 'GET <*> failed'],
    ['see http://[::1]:80/x, then (https://y.z/a)', 'see <*>, then (<*>)'],
    ['postgres://[redacted]@db:5432/app refused', '<*> refused'],
    ['bucket s3://b/k.txt in S3', 'bucket <*> in S3'],
    ['POST /v1/chat/completions?x=1: bad', 'POST <*>: bad'],
    ['open ./src/index.ts:12:5', 'open <*>'],
    ['no node_modules/@types/node/index.d.ts and no config.json', 'no <*> and no <*>'],
    ['cannot open C:\\Program Files\\nodejs\\node.exe now', 'cannot open <*> now'],
    ['cannot open \\\\server\\share\\a b\\c.txt', 'cannot open <*>'],
    ['input/output error: read and/or write', 'input/output error: read and/or write'],
    ['org.apache.Foo of Node.js', 'org.apache.Foo of Node.js'],
  ],
  'quoted text': [
    [`Step 'load "it"' was not started`, 'Step <*> was not started'],
    ['no “Bericht März.pdf”, no ‘x’, no «отчёт», no 「表」', 'no <*>, no <*>, no <*>, no <*>'],
    ["cannot open `foo` nor `bar' for reading", 'cannot open <*> nor <*> for reading'],
    [`can't do it, won't try, users' rights`, `can't do it, won't try, users' rights`],
    [`KeyError: 'transcript'`, 'KeyError: <*>'],
    ['"Connection refused"', '"Connection refused"'],
    [`Could not find [end of things]. Similar: ['a', "it's b"]`, 'Could not find [<*>]. Similar: [<*>]'],
    ['Could not find [things of old]. Similar: []', 'Could not find [<*>]. Similar: [<*>]'],
    [`Could not find [all things]. Similar: ['a', 'b and…`, 'Could not find [<*>]. Similar: [<*>]'],
    ['Connection closed by 10.0.0.1 [preauth]', 'Connection closed by <*> [preauth]'],
    ['message repeated 5 times: [ Failed for root]', 'message repeated <*> times: [ Failed for root]'],
  ],
  'key=value': [
    [
      'logname= uid=0 tty=ssh ruser= rhost=host  user=root',
      'logname=<*> uid=<*> tty=<*> ruser=<*> rhost=<*> user=<*>',
    ],
    ['drawn= false, moved =  true', 'drawn= <*>, moved = <*>'],
    [
      'level=warn msg="connection refused" code=ECONNRESET dur=15ms',
      'level=<*> msg="connection refused" code=ECONNRESET dur=<*>',
    ],
    ['a == b, c != d, e => f', 'a == b, c != d, e => f'],
    ['cwd=/ user=- x=y', 'cwd=<*> user=<*> x=<*>'],
    ['password=[redacted] rejected', 'password=<*> rejected'],
    ['enabled: true, next: null', 'enabled: <*>, next: <*>'],
  ],
  HTTP: [
    ['Request failed with status code 404', 'Request failed with status code 404'],
    ['Request failed with status code 503', 'Request failed with status code 503'],
    ['HTTP/1.1 502 Bad Gateway', 'HTTP 502 Bad Gateway'],
    ['{"status": 429, "id": 429}', '{"status": 429, "id": <*>}'],
    ['exited with code 137', 'exited with code <*>'],
    ['GET /users/7 - 404, took 404 ms', 'GET <*> - 404, took <*>'],
    ['http://a.b/c?d=e: 502.', '<*>: 502'],
    ['it responded with 503', 'it responded with 503'],
    ['it returned 404 rows', 'it returned <*> rows'],
  ],
  'models and JSON': [
    [
      `Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o in organization org-a1 on tokens per min (TPM): Limit 30000, Used 29500. Please try again in 1.4s.', 'type': 'tokens', 'param': None, 'code': 'rate_limit_exceeded'}}`,
      `Error code: 429 - {'error': {'message': 'Rate limit reached for <*> in organization <*> on tokens per min (TPM): Limit <*>, Used <*>. Please try again in <*>.', 'type': 'tokens', 'param': <*>, 'code': 'rate_limit_exceeded'}}`,
    ],
    [
      '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_011"}',
      '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":<*>}',
    ],
    [
      '{\\"error\\":{\\"message\\":\\"too long\\"},\\"id\\":\\"x\\"}',
      '{\\"error\\":{\\"message\\":\\"too long\\"},\\"id\\":\\<*>}',
    ],
    [
      `1 validation error for Args\nquery\n  Field required [type=missing, input_value={'q': 'x y'}, input_type=dict]`,
      '<*> validation error for Args query Field required [<*>]',
    ],
    ['Unexpected token < in JSON at position 0', 'Unexpected token <*> in JSON at position <*>'],
    [`Unexpected token ' in JSON, token of JSON`, 'Unexpected token <*> in JSON, token of JSON'],
    [`{ code: 'E_BAD', id: 'x' }, unknown type: 'x'`, `{ code: 'E_BAD', id: <*> }, unknown type: <*>`],
  ],
  databases: [
    [
      'duplicate key value violates unique constraint "users_pkey"\nDETAIL:  Key (id)=(42) already exists.',
      'duplicate key value violates unique constraint <*> DETAIL: Key (id)=(<*>) already exists',
    ],
    [
      'new row violates "c"\nDETAIL:  Failing row contains (7, null, a (b) c).\nHINT: none',
      'new row violates <*> DETAIL: Failing row contains <*>. HINT: none',
    ],
    ['parsing "abc": invalid', 'parsing <*>: invalid'],
    ['relation "t_2025_11" does not exist at character 15', 'relation <*> does not exist at character <*>'],
    [
      'deadlock detected: Process 12 waits for ShareLock on transaction 45; blocked by process 78.',
      'deadlock detected: Process <*> waits for ShareLock on transaction <*>; blocked by process <*>',
    ],
    ['ORA-00942: table or view does not exist', '<*>: table or view does not exist'],
    [
      `Access denied for user 'app'@'10.0.0.1' (using password: YES)`,
      'Access denied for user <*>@<*> (using password: YES)',
    ],
  ],
  'exceptions and their stacks': [
    [
      `TypeError: Cannot read properties of undefined (reading 'map')\n    at run (/app/a.js:1:2)\n    at async Promise.all (index 0)`,
      'TypeError: Cannot read properties of undefined (reading <*>)',
    ],
    [
      'java.lang.IllegalStateException: boom\n\tat a.B.c(B.java:12)\n\t... 12 more\nCaused by: java.io.IOException: disk full\n\tat x.Y(Y.java)',
      'java.lang.IllegalStateException: boom Caused by: java.io.IOException: disk full',
    ],
    [
      'Traceback (most recent call last):\n  File "/app/a.py", line 3, in <module>\n    main()\n    ~~~~^^\n  File "b.py", line 1, in f\n    x = y[0]\nIndexError: list index out of range',
      'Traceback (most recent call last): IndexError: list index out of range',
    ],
    [
      `Max retries exceeded with url: /v1 (Caused by NewConnectionError('<urllib3.HTTPSConnection object at 0x7f1b>: [Errno 111] Connection refused'))`,
      `Max retries exceeded with url: <*> (Caused by NewConnectionError('<<*> object at <*>>: [<*>] Connection refused'))`,
    ],
    [
      'panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:12 +0x1d',
      'panic: boom goroutine <*> [running]: main.main()',
    ],
  ],
  'white space, colours, rulers, punctuation, other scripts': [
    ['  a \t b\r\n\n c.  ', 'a b c'],
    ['\u001b[31mError\u001b[0m: bad', 'Error : bad'],
    ['========== 3 failed in 2.10s ==========', '=== <*> failed in <*> ==='],
    ['无法连接到服务器 10.0.0.1:8080，错误代码 111', '无法连接到服务器 <*>，错误代码 <*>'],
    ['用户123不存在', '用户<*>不存在'],
    ['Не удалось открыть файл «отчёт.txt»', 'Не удалось открыть файл <*>'],
    ['💥 boom 7', '💥 boom <*>'],
    ['', ''],
    [' \n ', ''],
    ['42', '<*>'],
    ['???', '???'],
  ],
}

describe.each(Object.entries(EXAMPLES))('%s', (_, examples) => {
  test.each(examples)('%s', (message, pattern) => {
    expect(errorPattern(message)).toBe(pattern)
  })
})

const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })

// What one place of a message may hold, from one occurrence to the next.
const VALUES: Record<string, fc.Arbitrary<string>> = {
  number: fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true })).map(String),
  uuid: fc.uuid(),
  hash: hex(40).filter((text) => /\d/.test(text)),
  address: fc.tuple(fc.ipV4(), fc.nat(65_535)).map(([ip, port]) => `${ip}:${port}`),
  ipV6: fc.ipV6().filter((text) => /\d/.test(text)),
  url: fc.webUrl({ withQueryParameters: true }).filter((url) => !/['();,!*]|[.:?]$/.test(url)),
  mail: fc.emailAddress().filter((mail) => !/['`{|}=!^"]/.test(mail)),
  date: fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('2200-01-01') })
    .map((date) => date.toISOString()),
  dateInWords: fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('2200-01-01') })
    .map((date) => date.toUTCString()),
  duration: fc.tuple(fc.nat(), fc.constantFrom('ms', 's', 'seconds', 'h')).map(([n, unit]) => `${n} ${unit}`),
  size: fc.tuple(fc.nat(), fc.constantFrom('B', 'KB', 'MiB')).map(([n, unit]) => `${n}${unit}`),
  quoted: fc.string({ unit: fc.constantFrom(...'ab 1.:[({é') }).map((text) => `"${text}"`),
  path: fc
    .array(fc.constantFrom('usr', 'a-b', 'x_1', 'data.csv'), { minLength: 1 })
    .map((parts) => `/${parts.join('/')}`),
  list: fc.array(fc.nat(), { minLength: 1 }).map((all) => all.join(', ')),
}

test.each(Object.entries(VALUES))('whatever the %s, the pattern is the same', (_, value) => {
  fc.assert(
    fc.property(value, value, (a, b) => {
      const say = (text: string): string =>
        errorPattern(`Task failed for ${text} while loading (${text}) at last`)
      expect(say(a)).toBe(say(b))
      expect(say(a)).toBe('Task failed for <*> while loading (<*>) at last')
    }),
  )
})

test('any text has a pattern of bounded length, always the same', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 2_000 }),
    fc.string({ unit: fc.constantFrom(...'a1 \'"`([{<=:/\\.-@%\n…'), maxLength: 200 }),
  )
  fc.assert(
    fc.property(text, (message) => {
      const pattern = errorPattern(message)
      expect(pattern.length).toBeLessThanOrEqual(PATTERN_MAX_LENGTH)
      expect(errorPattern(`${message} `)).toBe(pattern)
    }),
    { numRuns: 500 },
  )
})

test('what a long message says later does not count', () => {
  const start = 'word '.repeat(200)
  expect(errorPattern(`${start}one`)).toBe(errorPattern(`${start}two`))
  expect(errorPattern(start)).toBe(start.slice(0, PATTERN_MAX_LENGTH).trim())
  expect(errorPattern('7 '.repeat(8_000))).toBe('<*>')
  for (const text of ['😀'.repeat(400), `x${'😀'.repeat(400)}`])
    expect(errorPattern(text).isWellFormed()).toBe(true)
})

const HOSTILE = [
  ...[
    'a',
    '1 ',
    "'a ",
    "'a'a",
    '"',
    '`',
    '` ',
    '=',
    'a= ',
    '= ',
    '[',
    ' [',
    ' []',
    '(',
    '1 (',
    ':',
    'a:',
    'a:1',
    'abc ',
    'a://',
    '/',
    '/a ',
  ],
  ...[
    'a.',
    '. ',
    '1.',
    '\n',
    '\n ',
    '\n  File "',
    '\n from ',
    '\t',
    ' ',
    '\\',
    '\u001b[',
    'Jan ',
    'Jan , ',
    'ё ',
    '\ud83d',
    '*',
    ',',
    '…',
    '-',
  ],
]

test.each(HOSTILE)('%j over and over takes linear time', (unit) => {
  const before = process.cpuUsage()
  for (const text of [unit.repeat(131_072 / unit.length), `x${unit.repeat(131_072 / unit.length)}x…`])
    expect(errorPattern(text).length).toBeLessThanOrEqual(PATTERN_MAX_LENGTH)
  const { user, system } = process.cpuUsage(before)
  // 20 ms are usual for these 256 KiB. Were the time quadratic, it would be seconds.
  expect((user + system) / 1_000).toBeLessThan(1_000)
})

test('the id of a pattern is the start of its SHA-256', () => {
  expect(patternId('')).toBe('e3b0c44298fc1c14')
  expect(patternId('connect ECONNREFUSED <*>')).not.toBe(patternId('connect ETIMEDOUT <*>'))
})
