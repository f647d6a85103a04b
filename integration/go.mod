module github.com/uow-go/uow/integration

go 1.26.7

require (
	github.com/uow-go/uow v0.0.0
	github.com/uow-go/uow/monitor v0.0.0
	github.com/uow-go/uow/publishers v0.0.0
)

replace (
	github.com/uow-go/uow => ../
	github.com/uow-go/uow/monitor => ../monitor
	github.com/uow-go/uow/publishers => ../publishers
	github.com/hashicorp/nomad/api => github.com/hashicorp/nomad/api v0.0.0-20260907080526-08ef8f3d26da
)
