module portal.local/portalgate

go 1.21
