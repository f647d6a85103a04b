module github.com/uow-go/uow

go 1.26.7
