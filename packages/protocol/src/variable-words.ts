const FILE =
  /\.(?:[cm]?[jt]sx?|py|ipynb|rb|go|rs|java|class|jar|war|c|cc|cpp|h|hpp|cs|php|sh|bat|exe|dll|so|sql|html?|css|json[lc]?|ndjson|ya?ml|toml|ini|cfg|conf|properties|env|lock|xml|csv|tsv|txt|md|log|out|tmp|pid|sock|pdf|docx?|xlsx?|pptx?|png|jpe?g|gif|svg|webp|mp[34]|wav|zip|t?gz|tar|bz2|xz|parquet|pkl|pt|bin|dat|db|sqlite|pem|crt|key)$/i
const HOST =
  /\.(?:com|net|org|io|dev|ai|app|gov|edu|info|local|internal|localdomain|lan|svc|cloud|cn|uk|de|fr|jp|ru|in|br|au|eu|us|ca|mx|nl|it|es|kr|tw|hk)$/
/** `com.example.shop`: an application or a package, as Java and Android name them. With a capital it is a class, which tells failures apart. */
const REVERSE_HOST = /^(?:com|org|net|edu|gov|io|cn|de)(?:\.[a-z_][a-z_-]*){2,}$/
// Words that hold a digit and name a thing all the same. At most six letters.
const NAMES = new Set(
  's3 ec2 k8s oauth2 ipv4 ipv6 http2 utf8 utf-8 md5 sha1 sha256 sha512 base64 x509'.split(' '),
)
const PRODUCTS = new Set('node.js next.js vue.js'.split(' '))

/** Whether a word is something that varies: it holds a digit, or is a path, a file, a host, an address. */
export function isVariableWord(word: string, hasDigit: boolean): boolean {
  if (hasDigit) return word.length > 6 || !NAMES.has(word.toLowerCase())
  // user@host; not @scope/package
  if (word.indexOf('@') > 0) return true
  if (word.includes('/')) return isPath(word)
  if (word.includes('\\')) return isWindowsPath(word)
  if (word.includes('.')) return isFileOrHost(word)
  // Hexadecimal without a digit; sk-****abcd
  return word.length >= 8 && /^[a-f]+$|\*{3}|^localhost$/i.test(word)
}

function isFileOrHost(word: string): boolean {
  return (
    (FILE.test(word) && !PRODUCTS.has(word.toLowerCase())) ||
    (HOST.test(word) && word === word.toLowerCase()) ||
    REVERSE_HOST.test(word)
  )
}

function isPath(word: string): boolean {
  // and/or, Input/output; not /tmp, ./run, a/b/c
  return /^[/~.].|\/.*\/|\/\./.test(word) || FILE.test(word)
}

function isWindowsPath(word: string): boolean {
  // C:\a, \\server\share, CORP\alice; not the \n of an escaped line end
  return /^[A-Za-z]:|^\\\\.|\\[^nrtu"'\\/]/.test(word) || FILE.test(word)
}
