import * as Sentry from '@sentry/browser'
import { shop } from './page.js'

shop(({ collector, query }) => {
  const { host } = new URL(collector)
  Sentry.init({
    dsn: `http://public@${host}/1`,
    // The DSN alone would do; only a tunnel can have parameters.
    tunnel: query.includes('ack') ? `${collector}/api/1/envelope/${query}&sentry_key=public` : undefined,
    release: 'sentry-shop@1.4.0',
    environment: 'production',
    tracesSampleRate: 1,
    integrations: [Sentry.browserTracingIntegration()],
  })
})
