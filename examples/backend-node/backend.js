// A business backend behind wx-gateway: JSON in, JSON out. Needs only Node.js.
const http = require('node:http');

const handlers = {
  '/msg/text': (push) => ({ type: 'text', msg: 'You said: ' + push.Content }),
  '/msg/image': (push) => ({ type: 'image', msg: push.MediaId }),
  '/event/CLICK': (push) => ({ type: 'text', msg: 'You clicked ' + push.EventKey }),
};

const server = http.createServer((req, res) => {
  const chunks = [];
  req.on('data', (c) => chunks.push(c));
  req.on('end', () => {
    const push = JSON.parse(Buffer.concat(chunks).toString() || '{}'); // a health check sends no body
    const handler = handlers[req.url];
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify(handler ? handler(push) : { type: 'success' }));
  });
});

const [host, port] = (process.env.LISTEN || '127.0.0.1:7070').split(':');
server.listen(Number(port), host);
