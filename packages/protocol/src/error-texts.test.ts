import { expect, test } from 'vitest'
import { errorPattern } from './error-pattern.ts'
import { groupPatterns } from './failure-groups.ts'

// Made up after what runtimes, databases, models, browsers and people say. Each is one failure, twice.
const ONE_FAILURE: [string, string][] = [
  ['connect ECONNREFUSED 127.0.0.1:5432', 'connect ECONNREFUSED ::1:5432'],
  ['getaddrinfo EAI_AGAIN redis.prod.svc.cluster.local', 'getaddrinfo EAI_AGAIN db'],
  ['getaddrinfo ENOTFOUND postgres', 'getaddrinfo ENOTFOUND api.example.com api.example.com:443'],
  [
    "Error: Cannot find module 'left-pad'\nRequire stack:\n- /app/index.js\n- /app/a.js",
    "Error: Cannot find module './x'\nRequire stack:\n- /srv/b.js",
  ],
  ['timeout: deadline exceeded after 29.998s', 'timeout: deadline exceeded after 999µs'],
  [
    'Unexpected token \'h\', "hello wor"... is not valid JSON',
    'Unexpected token \'<\', "<!DOCTYPE "... is not valid JSON',
  ],
  ['Unexpected token < in JSON at position 0', 'Unexpected token } in JSON at position 4013'],
  [
    "Cannot read properties of undefined (reading 'map')",
    "Cannot read properties of undefined (reading 'length')",
  ],
  ["KeyError: 'user_id'", 'KeyError: 42'],
  [
    'json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)',
    'json.decoder.JSONDecodeError: Expecting value: line 12 column 40 (char 812)',
  ],
  [
    "json.decoder.JSONDecodeError: Expecting ',' delimiter: line 3 column 5 (char 80)",
    "json.decoder.JSONDecodeError: Expecting ',' delimiter: line 1 column 9 (char 8)",
  ],
  [
    "HTTPSConnectionPool(host='api.openai.com', port=443): Read timed out. (read timeout=600)",
    "HTTPSConnectionPool(host='x.y.z', port=8443): Read timed out. (read timeout=5.0)",
  ],
  [
    "HTTPSConnectionPool(host='a.b', port=443): Max retries exceeded with url: /v1/x (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7f3a1c2b4d90>: Failed to establish a new connection: [Errno 111] Connection refused'))",
    "HTTPSConnectionPool(host='c.d', port=443): Max retries exceeded with url: /v2/chat?q=1 (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7faa>: Failed to establish a new connection: [Errno 111] Connection refused'))",
  ],
  ["'NoneType' object has no attribute 'get'", "'NoneType' object has no attribute 'items'"],
  ["invalid literal for int() with base 10: 'abc'", "invalid literal for int() with base 10: ''"],
  [
    "ValidationError: 1 validation error for SearchArgs\nquery\n  Field required [type=missing, input_value={'q': 'hi'}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.7/v/missing",
    'ValidationError: 1 validation error for SearchArgs\nquery\n  Field required [type=missing, input_value={}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.9/v/missing',
  ],
  [
    'CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity; 13.20 GiB already allocated; 1.01 GiB free)',
    'CUDA out of memory. Tried to allocate 512.00 MiB (GPU 3; 79.15 GiB total capacity; 70 GiB already allocated; 12 MiB free)',
  ],
  [
    'java.lang.NullPointerException: Cannot invoke "String.length()" because "<local1>" is null\n\tat a.B.c(B.java:3)',
    'java.lang.NullPointerException: Cannot invoke "java.util.List.size()" because "this.items" is null\n\tat d.E.f(E.java:77)',
  ],
  [
    'org.postgresql.util.PSQLException: ERROR: duplicate key value violates unique constraint "users_email_key"\n  Detail: Key (email)=(bob@x.io) already exists.',
    'org.postgresql.util.PSQLException: ERROR: duplicate key value violates unique constraint "users_email_key"\n  Detail: Key (email)=(alice.b@y.org) already exists.',
  ],
  ['dial tcp 10.0.0.5:6379: connect: connection refused', 'dial tcp [::1]:6379: connect: connection refused'],
  [
    'Post "https://api.x.io/v1": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
    'Post "http://y:80/z?q=1": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
  ],
  [
    'read tcp 10.0.0.1:52344->10.0.0.2:443: read: connection reset by peer',
    'read tcp 192.168.1.7:1->172.16.0.9:5432: read: connection reset by peer',
  ],
  [
    'panic: runtime error: index out of range [5] with length 3\n\ngoroutine 17 [running]:\nmain.f(0xc000012345)\n\t/app/main.go:12 +0x1d',
    'panic: runtime error: index out of range [0] with length 0\n\ngoroutine 1 [running]:\nmain.f(0xc0000aa)\n\t/srv/main.go:99 +0x99',
  ],
  [
    'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:50051: i/o timeout"',
    'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 10.9.8.7:50051: i/o timeout"',
  ],
  ['strconv.Atoi: parsing "abc": invalid syntax', 'strconv.Atoi: parsing "12x": invalid syntax'],
  [
    "thread 'main' panicked at src/main.rs:4:5:\nindex out of bounds: the len is 3 but the index is 99",
    "thread 'tokio-runtime-worker' panicked at crates/a/src/lib.rs:104:17:\nindex out of bounds: the len is 0 but the index is 0",
  ],
  [
    'error sending request for url (https://api.x.io/v1/embeddings): operation timed out',
    'error sending request for url (http://localhost:8080/): operation timed out',
  ],
  [
    'duplicate key value violates unique constraint "users_pkey"',
    'duplicate key value violates unique constraint "orders_pkey"',
  ],
  [
    'null value in column "name" of relation "users" violates not-null constraint\nDETAIL:  Failing row contains (1, null, 2024-01-01 00:00:00+00).',
    'null value in column "email" of relation "accounts" violates not-null constraint\nDETAIL:  Failing row contains (77, bob, null, 3.5, f).',
  ],
  ['syntax error at or near "FORM" at character 10', 'syntax error at or near ";" at character 99'],
  ['invalid input syntax for type uuid: "undefined"', 'invalid input syntax for type uuid: "42"'],
  [
    'E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "a@b.c" }',
    'E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "x@y.z" }',
  ],
  [
    '429 Rate limit reached for gpt-4o in organization org-AbC123 on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s. Visit https://platform.openai.com/account/rate-limits to learn more.',
    '429 Rate limit reached for gpt-4o-mini in organization org-xyz9 on tokens per min (TPM): Limit 200000, Used 199000, Requested 9000. Please try again in 1m2.5s. Visit https://platform.openai.com/account/rate-limits to learn more.',
  ],
  [
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 130112 tokens. Please reduce the length of the messages.",
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.",
  ],
  [
    'prompt is too long: 208310 tokens > 200000 maximum',
    'prompt is too long: 1000001 tokens > 1000000 maximum',
  ],
  [
    "Error code: 400 - {'type': 'error', 'error': {'type': 'invalid_request_error', 'message': 'messages.12: all messages must have non-empty content'}, 'request_id': 'req_011CSHoEeqs5C35K2UUqR7Fy'}",
    "Error code: 400 - {'type': 'error', 'error': {'type': 'invalid_request_error', 'message': 'messages.3: all messages must have non-empty content'}, 'request_id': 'req_vrtx_01ab'}",
  ],
  [
    'The model `gpt-5-foo` does not exist or you do not have access to it.',
    'The model `claude-x` does not exist or you do not have access to it.',
  ],
  [
    'Incorrect API key provided: sk-proj-****************abcd. You can find your API key at https://platform.openai.com/account/api-keys.',
    'Incorrect API key provided: sk-********wxyz. You can find your API key at https://platform.openai.com/account/api-keys.',
  ],
  [
    'Tool call failed: search_web(query="weather in Paris", limit=5) returned no results',
    'Tool call failed: search_web(query="best pizza", limit=10) returned no results',
  ],
  [
    "Tool 'get_weather' not found. Available tools: ['search', 'calc']",
    "Tool 'foo' not found. Available tools: ['a']",
  ],
  [
    'Agent stopped after 25 iterations without a final answer',
    'Agent stopped after 10 iterations without a final answer',
  ],
  [
    'Could not parse LLM output: `I think the answer is 42`',
    'Could not parse LLM output: `Sure! Here is: \n- a\n- b`',
  ],
  [
    'MCP error -32602: Invalid arguments for tool read_file: [{"code":"invalid_type","path":["path"]}]',
    'MCP error -32602: Invalid arguments for tool read_file: [{"code":"invalid_type","path":["file"]}]',
  ],
  [
    'Recursion limit of 25 reached without hitting a stop condition',
    'Recursion limit of 100 reached without hitting a stop condition',
  ],
  ['arn:aws:s3:::bucket/key denied', 'arn:aws:iam::123456789012:role/x denied'],
  [
    'AccessDenied: User: arn:aws:iam::123456789012:user/bob is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k',
    'AccessDenied: User: arn:aws:sts::999:assumed-role/r/i-0abc is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::c/d/e',
  ],
  [
    'The process cannot access the file because it is being used by another process: C:\\Temp\\a b\\c.log',
    'The process cannot access the file because it is being used by another process: D:\\x.txt',
  ],
  ['failed to open ~/.config/app/settings.toml', 'failed to open ./settings.toml'],
  ['cannot stat file:///tmp/x.sock', 'cannot stat file:///var/run/y.sock'],
  ['invalid since Fri Dec 10 19:02:14 EST 2004', 'invalid since Mon Sep 27 22:15:07 PDT 2004'],
  ['连接超时：30秒，主机 10.0.0.1', '连接超时：5秒，主机 192.168.0.9'],
  ['无法打开文件“报告.pdf”', '无法打开文件“数据.csv”'],
  ['ファイル「設定.json」が見つかりません', 'ファイル「a」が見つかりません'],
  ['接続がタイムアウトしました（３０秒）', '接続がタイムアウトしました（５秒）'],
  ['ユーザー『太郎』は存在しません', 'ユーザー『花子』は存在しません'],
  ['文件《报告》不存在', '文件《数据》不存在'],
  ['فشل الاتصال بالخادم 10.0.0.1 بعد ٣٠ ثانية', 'فشل الاتصال بالخادم 10.0.0.2 بعد ٥ ثانية'],
  ['Не удалось подключиться к 10.0.0.1:5432 за 30 с', 'Не удалось подключиться к 10.0.0.2:5432 за 5 с'],
  ['연결 실패: 10.0.0.1 (시도 3회)', '연결 실패: 10.0.0.9 (시도 10회)'],
  ['❌ Step 3/7 failed: exit code 1', '❌ Step 5/9 failed: exit code 2'],
  ['Process exited with code 137 (SIGKILL)', 'Process exited with code 1 (SIGKILL)'],
  ['MOVED 3999 127.0.0.1:6381', 'MOVED 12182 10.0.0.4:7002'],
  ['failed with 3 errors: [a, b, c]', 'failed with 2 errors: [x, y]'],
  ['Assertion failed: expected 3 to equal 4', 'Assertion failed: expected -1.5e10 to equal 0'],
  ['Payment of €12,50 failed', 'Payment of €99 failed'],
  ['invalid version ^1.2.3', 'invalid version ~2.0.0-beta.1+build.5'],
  ['npm ERR! code E404 for @scope/pkg@1.2.3', 'npm ERR! code E404 for left-pad@2'],
  ['Element <div class="a b"> not found', 'Element <div class="c"> not found'],
  [
    'waiting for selector `#login > button.primary` failed: timeout 30000ms exceeded',
    'waiting for selector `.x` failed: timeout 5000ms exceeded',
  ],
  [
    "locator.click: Timeout 30000ms exceeded.\nCall log:\n  - waiting for locator('#a')",
    "locator.click: Timeout 5000ms exceeded.\nCall log:\n  - waiting for locator('.b >> text=hi')",
  ],
  ['Pod web-7d4b9c6f5-x2x9z is in CrashLoopBackOff', 'Pod api-5f6d-abcde is in CrashLoopBackOff'],
  [
    'pull access denied for registry.io/team/app:1.2.3, repository does not exist',
    'pull access denied for ghcr.io/x/y@sha256:abc1, repository does not exist',
  ],
  ['exec: "git": executable file not found in $PATH', 'exec: "python3": executable file not found in $PATH'],
  [
    "SyntaxError: Unexpected identifier 'foo' (at line 3)",
    "SyntaxError: Unexpected identifier 'bar' (at line 12)",
  ],
  [
    'Lambda request 8f14e45f-ceea-467f-9e8b-1c2d3e4f5a6b timed out after 3.00 seconds',
    'Lambda request 11111111-2222-3333-4444-555555555555 timed out after 30.00 seconds',
  ],
  [
    '2024-05-01T12:00:00.123Z 8f14e45f Task timed out after 3.00 seconds',
    '2025-01-01T00:00:00.000Z 12345678 Task timed out after 900.10 seconds',
  ],
  [
    'ZodError: [\n  {\n    "code": "invalid_type",\n    "expected": "string",\n    "received": "undefined",\n    "path": [\n      "name"\n    ],\n    "message": "Required"\n  }\n]',
    'ZodError: [\n  {\n    "code": "invalid_type",\n    "expected": "number",\n    "received": "string",\n    "path": [\n      "a", 3\n    ],\n    "message": "Required"\n  }\n]',
  ],
  [
    "Tool execution failed: bash exited with status 2: ls: cannot access '/x': No such file or directory",
    "Tool execution failed: bash exited with status 1: ls: cannot access '/y/z': No such file or directory",
  ],
  [
    'ThrottlingException: Rate exceeded (Service: Bedrock, Status Code: 429, Request ID: 1a2b3c4d-0000-1111-2222-333344445555)',
    'ThrottlingException: Rate exceeded (Service: Bedrock, Status Code: 429, Request ID: ffffffff-0000-1111-2222-333344445555)',
  ],
  [
    "Error in tool 'search': Request timed out. (timeout=60.0)",
    "Error in tool 'fetch_page': Request timed out. (timeout=5)",
  ],
  ["Step 'plan' exceeded budget of $0.50 (used $0.73)", "Step 'act' exceeded budget of $12 (used $12.01)"],
  ['Hallucinated function call: get_wether({"q":1})', 'Hallucinated function call: get_wether({"q":"x y"})'],
  [
    'page.goto: net::ERR_NAME_NOT_RESOLVED at https://foo.bar/',
    'page.goto: net::ERR_NAME_NOT_RESOLVED at http://x/',
  ],
  ['Failed to fetch https://x.io/a.tar.gz: 403 Forbidden', 'Failed to fetch http://y.io/b: 403 Forbidden'],
  [
    'MaxRetriesPerRequestError: Reached the max retries per request limit (which is 20). Refer to "maxRetriesPerRequest" option for details.',
    'MaxRetriesPerRequestError: Reached the max retries per request limit (which is 3). Refer to "maxRetriesPerRequest" option for details.',
  ],
  ['password authentication failed for user "bob"', 'password authentication failed for user "app_rw"'],
  ['value too long for type character varying(255)', 'value too long for type character varying(64)'],
  [
    'numeric field overflow\nDETAIL:  A field with precision 10, scale 2 must round to an absolute value less than 10^8.',
    'numeric field overflow\nDETAIL:  A field with precision 4, scale 1 must round to an absolute value less than 10^3.',
  ],
  ["Data too long for column 'name' at row 1", "Data too long for column 'bio' at row 17"],
  [
    'line 3, column 14: mapping values are not allowed here',
    'line 120, column 2: mapping values are not allowed here',
  ],
  ['  in "config.yaml", line 3, column 14', '  in "/etc/x.yml", line 9, column 1'],
  [
    'error[E0382]: borrow of moved value: `x`\n --> src/main.rs:5:20',
    'error[E0382]: borrow of moved value: `self.items`\n --> src/lib.rs:105:2',
  ],
  [
    "Error: EBUSY: resource busy or locked, unlink 'C:\\Users\\bob\\AppData\\Local\\Temp\\x.tmp'",
    "Error: EBUSY: resource busy or locked, unlink 'D:\\a\\b.lock'",
  ],
  [
    'Traceback (most recent call last):\n  File "/a.py", line 1, in <module>\n    f()\nValueError: bad thing 3',
    'Traceback (most recent call last):\n  File "/b/c.py", line 99, in g\n    return h(x)\n           ^^^^\n  File "/b/d.py", line 2, in h\n    raise ValueError(f\'bad thing {x}\')\nValueError: bad thing 9',
  ],
  [
    'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space',
    'Exception in thread "pool-1-thread-7" java.lang.OutOfMemoryError: Java heap space',
  ],
  [
    'System.Net.Http.HttpRequestException: No connection could be made because the target machine actively refused it. (localhost:5001)\n   at System.Net.Http.X.Y()',
    'System.Net.Http.HttpRequestException: No connection could be made because the target machine actively refused it. (10.0.0.1:80)\n   at A.B()',
  ],
  ["undefined method `foo' for nil:NilClass", "undefined method `bar_baz?' for nil:NilClass"],
  ["第3行解析错误：意外的字符'x'", "第120行解析错误：意外的字符'}'"],
  ['خطأ في السطر ١٢: رمز غير متوقع', 'خطأ في السطر ٣: رمز غير متوقع'],
  ['שגיאה 17: הקובץ לא נמצא', 'שגיאה 3: הקובץ לא נמצא'],
  ['🔥🔥 worker-3 OOM 🔥🔥', '🔥🔥 worker-12 OOM 🔥🔥'],
  [
    'Zeitüberschreitung nach 30 Sekunden bei der Anfrage „GET /x“',
    'Zeitüberschreitung nach 5 Sekunden bei der Anfrage „POST /y“',
  ],
  [
    'La connexion a échoué après 3 tentatives : « hôte inconnu »',
    'La connexion a échoué après 10 tentatives : « délai dépassé »',
  ],
  ['queue "emails": job 12 stalled', 'queue "sms-eu": job 3 stalled'],
  ["Header 'X-Request-Id: abc' is invalid", "Header 'Y: z' is invalid"],
  ['quota exceeded for project my-proj-123456', 'quota exceeded for project other-987'],
  ['ref: refs/heads/main not found', 'ref: refs/heads/feature/x-1 not found'],
  [
    "Got invalid value { id: 1, name: 'x' }; expected object",
    "Got invalid value { id: 22, name: 'y z' }; expected object",
  ],
]

// Each is two failures.
const TWO_FAILURES: [string, string][] = [
  ['connect ECONNREFUSED 127.0.0.1:5432', 'connect ETIMEDOUT 127.0.0.1:5432'],
  ['Request failed with status code 404', 'Request failed with status code 500'],
  ['HTTP 429 Too Many Requests', 'HTTP 503 Service Unavailable'],
  ['Response status: 401', 'Response status: 403'],
  [
    "Error code: 400 - {'error': {'message': 'x', 'type': 'invalid_request_error'}}",
    "Error code: 401 - {'error': {'message': 'x', 'type': 'authentication_error'}}",
  ],
  ["Cannot read properties of undefined (reading 'x')", "Cannot read properties of null (reading 'x')"],
  ["KeyError: 'x'", "ValueError: 'x'"],
  ['TypeError: x is not iterable', 'TypeError: x is not a function'],
  ['Failed to open the file', 'Failed to close the file'],
  ['Connection refused', 'Connection reset by peer'],
  ['The request timed out', 'The request was aborted'],
  ['relation "users" does not exist', 'column "users" does not exist'],
  [
    'duplicate key value violates unique constraint "a"',
    'new row for relation "a" violates check constraint "b"',
  ],
  ['java.io.IOException: Broken pipe', 'java.io.IOException: No space left on device'],
  ['java.lang.IllegalStateException: closed', 'java.lang.IllegalArgumentException: closed'],
  [
    'panic: runtime error: index out of range [5] with length 3',
    'panic: runtime error: invalid memory address or nil pointer dereference',
  ],
  ['rpc error: code = Unavailable desc = x', 'rpc error: code = NotFound desc = x'],
  [
    'rpc error: code = Unavailable desc = "the server is down"',
    'rpc error: code = Unavailable desc = "name resolver error"',
  ],
  ['overloaded_error: Overloaded', 'rate_limit_error: Number of requests has exceeded your rate limit'],
  ['prompt is too long: 208310 tokens > 200000 maximum', 'max_tokens: 300000 > 128000, which is the maximum'],
  ["Tool 'a' not found", "Tool 'a' timed out"],
  ['error: {"code":"insufficient_quota"}', 'error: {"code":"rate_limit_exceeded"}'],
  ['连接超时：30秒', '连接被拒绝：30秒'],
  ['ファイルが見つかりません: 3', 'ファイルを開けません: 3'],
  ['فشل الاتصال بالخادم 10.0.0.1', 'انتهت مهلة الاتصال بالخادم 10.0.0.1'],
  ['读取文件 3 失败', '写入文件 3 失败'],
  ['unexpected EOF', 'unexpected token'],
  ["[Errno 2] No such file or directory: 'x'", "[Errno 13] Permission denied: 'x'"],
  ['ORA-00942: table or view does not exist', 'ORA-00001: unique constraint (X.Y) violated'],
  ['SIGKILL: exit code 137', 'SIGTERM: exit code 143'],
  ['{"error":"invalid_grant"}', '{"error":"invalid_client"}'],
  ['{"error":{"message":"Not found"}}', '{"error":{"message":"Forbidden"}}'],
  ['msg="connection refused" level=error', 'msg="broken pipe" level=error'],
  ['reason=timeout host=a', 'reason=refused host=a'],
  ['Validation failed: name is required', 'Validation failed: name is too long'],
  ['400 Bad Request', '401 Unauthorized'],
  ['GET /a 404', 'GET /a 500'],
  ['GET https://x.io/a - 404', 'GET https://x.io/a - 500'],
  ['POST /v1/x returned 502', 'POST /v1/x returned 401'],
  ['server responded with 404', 'server responded with 500'],
  ['AxiosError: Request failed with status code 401', 'AxiosError: timeout of 1000ms exceeded'],
  ['💥 boom', '✅ done'],
  ['Invalid argument: x=1', 'Invalid state: x=1'],
  ["the disk is full: '/a'", "the disk is read-only: '/a'"],
  [
    "unsupported operand type(s) for +: 'int' and 'str'",
    "unsupported operand type(s) for -: 'int' and 'str'",
  ],
  ["TimeoutError: 'foo' timed out", "AbortError: 'foo' was aborted"],
  ['AssertionError: expected true to be false', 'AssertionError: expected [] to be empty'],
  ['HTTP 500: Internal Server Error', 'HTTP 502: Bad Gateway'],
  ["{ code: 'ECONNREFUSED', errno: -111 }", "{ code: 'ETIMEDOUT', errno: -110 }"],
  [
    'FetchError: request to https://x failed, reason: connect ECONNREFUSED 1.2.3.4:80',
    'FetchError: request to https://x failed, reason: socket hang up',
  ],
  [
    "Error code: 500 - {'error': {'message': 'The server had an error'}}",
    "Error code: 503 - {'error': {'message': 'The engine is overloaded'}}",
  ],
  ['[503 Service Unavailable] x', '[429 Too Many Requests] x'],
  ['Failed to fetch https://x.io/a: 403', 'Failed to fetch https://x.io/a: 404'],
  ['TS2345: x', 'TS2322: y'],
  [
    'error[E0382]: borrow of moved value: `x`',
    'error[E0499]: cannot borrow `x` as mutable more than once at a time',
  ],
  ['Tool "a" returned an error: rate limited', 'Tool "a" returned an error: not authorised'],
  ['Operation failed: timeout', 'Operation failed: cancelled'],
  ['NOAUTH Authentication required.', 'NOSCRIPT No matching script.'],
  ['Status: Unhealthy', 'Status: Degraded'],
  ['stop_reason: max_tokens', 'stop_reason: refusal'],
  ['finish_reason=length', 'finish_reason=content_filter'],
  [
    'column "a" is of type integer but expression is of type text',
    'column "a" must appear in the GROUP BY clause',
  ],
  ['文件不存在：3', '权限不足：3'],
  ['エラー：認証に失敗しました', 'エラー：接続に失敗しました'],
  ['SSL: CERTIFICATE_VERIFY_FAILED', 'SSL: WRONG_VERSION_NUMBER'],
  ['signal: killed', 'signal: aborted'],
  ['maximum recursion depth exceeded', 'maximum context length exceeded'],
  ['desc = "a b"', 'desc = "c d"'],
]

test.each(ONE_FAILURE)('%s, again: %s', (one, other) => {
  expect(errorPattern(other)).toBe(errorPattern(one))
})

test.each(TWO_FAILURES)('%s, and not %s', (one, other) => {
  expect(errorPattern(other)).not.toBe(errorPattern(one))
})

test('all of them together are as many failures as there are', () => {
  const patterns = ONE_FAILURE.map(([one]) => errorPattern(one))
  expect(new Set(patterns).size).toBe(patterns.length)
  const groups = groupPatterns(patterns).map(({ members }) => members)
  expect(groups.filter((members) => members.length > 1)).toEqual([])
})
